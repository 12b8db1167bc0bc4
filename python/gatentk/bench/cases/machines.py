"""Choice of a ridge by leave-one-out."""

from __future__ import annotations

import torch
from torch import Tensor

from gatentk import ntk
from gatentk.bench.case import Case, Job, Shape, Work, gaussian_samples
from gatentk.errors import DataError
from gatentk.extras import imports

RIDGES = tuple(10.0 ** (-6 + 7 * k / 19) for k in range(20))
FOLDS = 5


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
)
