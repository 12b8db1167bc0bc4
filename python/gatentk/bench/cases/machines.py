"""Choice of a ridge by leave-one-out, and whole fits beside those of other kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatentk import data, ntk
from gatentk.bench.case import Case, Job, Shape, Work, gaussian_samples
from gatentk.errors import DataError
from gatentk.extras import imports
from gatentk.scaling import standard_columns, unit_rows

RIDGES = tuple(10.0 ** (-6 + 7 * k / 19) for k in range(20))
FOLDS = 5
TESTS = 4  # a sample in so many is for testing

# As smooth as the function of friedman: kernels of ReLU networks, and of NTKs the more, have a kink where two samples
# meet, which RBF kernels do not have.
SMOOTH: dict[str, Any] = {"kernel": "nngp", "activation": "gelu", "w_std": 1.0, "b_std": 1.0}


def _leave_one_out(case: Case) -> Job:
    """Ours counts the tridiagonal form with its vectors and n^2 a ridge, the peer Cholesky factors of its folds."""
    with imports("sklearn", case.name, DataError):
        from sklearn.kernel_ridge import KernelRidge
        from sklearn.model_selection import GridSearchCV

        from gatentk.kernel_machines import NTKRegressorCV
    n, depths = case.shape.n, range(1, case.shape.depth + 1)
    x = gaussian_samples(case)
    y = x.norm(dim=1).sin().numpy()
    kernels = ntk.infinite_sweep(x.numpy(), depths=depths)

    def ours() -> Tensor:
        machine = NTKRegressorCV(depths=depths, ridges=RIDGES, fit_intercept=False).fit(x.numpy(), y)
        return torch.from_numpy(machine.loo_errors_).flip(1)  # their ridges fall

    def peer() -> Tensor:
        errors = []
        for K in kernels:
            grid = {"alpha": [ridge * K.diagonal().mean() for ridge in RIDGES]}
            machine = KernelRidge(kernel="precomputed")
            search = GridSearchCV(machine, grid, scoring="neg_mean_squared_error", cv=FOLDS, refit=False).fit(K, y)
            errors.append(torch.from_numpy(-search.cv_results_["mean_test_score"]))
        return torch.stack(errors)

    fits = FOLDS * len(RIDGES) * ((1 - 1 / FOLDS) * n) ** 3 / 3
    return Job(
        ours=ours,
        work=Work(len(depths) * fits, len(depths) * (8 / 3 * n**3 + 6 * len(RIDGES) * n**2)),
        peers={"GridSearchCV of KernelRidge": peer},
        comparable=None,
        notes=("our side counts its kernels and the last fit, the peer is given its kernels and leaves out folds",),
    )


def with_ones(x: Any) -> Any:
    """A constant feature beside the others."""
    return np.c_[x, np.ones(len(x))]


def _fit(case: Case, has_classes: bool) -> Job:
    """Choice of all that is to be chosen, the fit and its score on other samples: of both sides."""
    with imports("sklearn", case.name, DataError):
        from sklearn.kernel_ridge import KernelRidge
        from sklearn.model_selection import GridSearchCV
        from sklearn.svm import SVC

        from gatentk.kernel_machines import NTKClassifierCV, NTKRegressorCV
    shape = case.shape
    samples = data.load("digits" if has_classes else "friedman", n=shape.n)
    assert samples.y is not None
    tests = torch.arange(shape.n).remainder(TESTS).eq(0).numpy()
    y = samples.y.numpy()
    if has_classes:
        x, scales = unit_rows(samples.x).numpy(), [10.0**k for k in range(-2, 3)]
    else:
        x = standard_columns(samples.x, torch.from_numpy(~tests).nonzero().flatten()).numpy()
        scales = [10.0**k for k in range(-4, 1)]
    depths = range(1, shape.depth + 1)
    ours: Any = NTKClassifierCV(depths=depths) if has_classes else NTKRegressorCV(depths=depths, **SMOOTH)
    grid = {"gamma": scales, ("C" if has_classes else "alpha"): [10.0**k for k in range(-3, 3)]}
    peer: Any = GridSearchCV(SVC() if has_classes else KernelRidge(kernel="rbf"), grid, cv=FOLDS)

    def scored(machine: Any) -> Tensor:
        return torch.tensor([machine.fit(x[~tests], y[~tests]).score(x[tests], y[tests])], dtype=torch.float64)

    measure = "accuracy" if has_classes else "R^2"
    found = f"{float(scored(ours)):.3f}, depth {ours.depth_}, the peer's {float(scored(peer)):.3f}"
    if not has_classes:  # with a constant feature, the bias of the first layer
        machine = NTKRegressorCV(depths=depths).fit(with_ones(x[~tests]), y[~tests])
        found += f", that of the NTK of ReLU networks {machine.score(with_ones(x[tests]), y[tests]):.3f}"
    fits = shape.n * (TESTS - 1) / TESTS
    return Job(
        ours=lambda: scored(ours),
        work=Work(shape.depth * 8 / 3 * fits**3, shape.depth * 8 / 3 * fits**3),
        peers={"GridSearchCV": lambda: scored(peer)},
        comparable=None,
        notes=(f"{measure} on {int(tests.sum())} other samples: ours {found}",),
    )


CASES = (
    Case(
        name="leave-one-out-f64",
        family="machines",
        ours="NTKRegressorCV, 20 ridges by exact leave-one-out",
        peer="scikit-learn's GridSearchCV of KernelRidge on the same kernels, 5 folds",
        shape=Shape(n=3000, d=20, depth=1),
        quick=Shape(n=40, d=5, depth=2),
        dtype=torch.float64,
        prepare=_leave_one_out,
        at_least=3,
        aim=6,
        packages=("scikit-learn",),
    ),
    Case(
        name="fit-classes-f64",
        family="machines",
        ours="NTKClassifierCV on digits of norm 1, depth and 19 ridges by leave-one-out",
        peer="scikit-learn's SVC with RBF kernels on the same, 30 pairs of gamma and C by 5 folds",
        shape=Shape(n=1200, d=64, depth=5),
        quick=Shape(n=160, d=64, depth=2),
        dtype=torch.float64,
        prepare=partial(_fit, has_classes=True),
        packages=("scikit-learn",),
    ),
    Case(
        name="fit-numbers-f64",
        family="machines",
        ours="NTKRegressorCV on friedman, NNGP of GELU networks with biases, depth and 19 ridges by leave-one-out",
        peer="scikit-learn's KernelRidge with RBF kernels on the same, 30 pairs of gamma and alpha by 5 folds",
        shape=Shape(n=1200, d=10, depth=5),
        quick=Shape(n=80, d=10, depth=2),
        dtype=torch.float64,
        prepare=partial(_fit, has_classes=False),
        packages=("scikit-learn",),
    ),
)
