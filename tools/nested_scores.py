"""Scores of kernels of wide networks beside machines of scikit-learn, by nested cross-validation.

    python tools/nested_scores.py                 the table of docs/kernel_machines.md
    python tools/nested_scores.py wine digits     some of them

Outer: 5 folds (classes stratified, shuffled with seed 0). Inside each machine chooses by its own means: ours by
leave-one-out over depths 1 to 10 and 19 ridges, the others by a grid search with 5 folds over the settings below.
Features are standardised, ours with a constant one; digits have norm 1; the forest takes them as they are. Of each: the
mean score (accuracy or R^2) of the outer folds, and the seconds of processor time of all fits.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC, SVR

from gatentk.kernel_machines import NTKClassifierCV, NTKRegressorCV

LOADERS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
    "diabetes": load_diabetes,
}
LARGEST_PROCESS = 600  # samples of a Gaussian process, whose search takes minutes beyond
FOLDS = 5


def with_ones(x: Any) -> Any:
    """A constant column, the bias of the first layer."""
    return np.c_[x, np.ones(len(x))]


def machines(name: str, n: int, has_classes: bool) -> dict[str, Any]:
    """The competitors."""
    is_images = name == "digits"
    scaling = Normalizer() if is_images else StandardScaler()
    features = np.logspace(-2, 2, 9) if is_images else np.logspace(-4, 0, 9)
    penalties = np.logspace(-2, 3, 6)
    if is_images:
        ours = NTKClassifierCV(normalize=True)
    else:
        ours = make_pipeline(
            StandardScaler(), FunctionTransformer(with_ones), NTKClassifierCV() if has_classes else NTKRegressorCV()
        )
    vectors = SVC() if has_classes else SVR()
    grid = {
        f"{type(vectors).__name__.lower()}__{key}": values for key, values in (("C", penalties), ("gamma", features))
    }
    found: dict[str, Any] = {
        "NTK": ours,
        "SVM, RBF": GridSearchCV(make_pipeline(scaling, vectors), grid, cv=FOLDS),
    }
    if not has_classes:
        ridges = {"kernelridge__alpha": np.logspace(-4, 1, 6), "kernelridge__gamma": features}
        found["kernel ridge, RBF"] = GridSearchCV(make_pipeline(scaling, KernelRidge(kernel="rbf")), ridges, cv=FOLDS)
    forest = (RandomForestClassifier if has_classes else RandomForestRegressor)(n_estimators=300, random_state=0)
    found["random forest"] = GridSearchCV(forest, {"max_features": ["sqrt", 0.5, 1.0]}, cv=FOLDS)
    if n <= LARGEST_PROCESS:
        kernel = ConstantKernel() * RBF()
        process: Any = GaussianProcessClassifier(kernel, random_state=0)
        if not has_classes:
            process = GaussianProcessRegressor(kernel + WhiteKernel(), normalize_y=True, random_state=0)
        found["Gaussian process, RBF"] = make_pipeline(scaling, process)
    return found


def measure(name: str) -> None:
    """Print the rows of a data set."""
    x, y = LOADERS[name](return_X_y=True)
    has_classes = y.dtype.kind == "i"
    folds = (StratifiedKFold if has_classes else KFold)(FOLDS, shuffle=True, random_state=0)
    for label, machine in machines(name, len(x), has_classes).items():
        scores, depths = [], Counter[int]()
        start = time.process_time()
        for train, test in folds.split(x, y):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fitted = machine.fit(x[train], y[train])
            scores.append(fitted.score(x[test], y[test]))
            last = fitted[-1] if hasattr(fitted, "steps") else fitted
            if hasattr(last, "depth_"):
                depths[last.depth_] += 1
        seconds = time.process_time() - start
        chosen = ", ".join(f"{depth} ({count})" for depth, count in sorted(depths.items()))
        print(f"| {name} | {label} | {np.mean(scores):.3f} | {seconds:.1f} | {chosen} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LOADERS)}; all if left out")
    names = parser.parse_args().names or list(LOADERS)
    print("| data | machine | score | seconds | depths (folds) |\n| --- | --- | --- | --- | --- |")
    for name in names:
        measure(name)


if __name__ == "__main__":
    main()
