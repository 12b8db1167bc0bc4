"""Choice of depth and ridge by leave-one-out beside scikit-learn's grid search on the same kernels, of MNIST.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tools/leave_one_out_peer.py      about 12 minutes with one thread
    python tools/leave_one_out_peer.py --n 500 --turns 1                             a few seconds

3,000 images, all ten digits against the others at once (--digit 3: one of them), depths 1 to 10 and 20 ridges. Ours is
NTKRegressorCV, whose time has the kernels and the fit of the best pair in it; the peer a GridSearchCV of KernelRidge a
depth, on kernels that it is given, with 5 folds and without a last fit. The two take turns. Printed are wall and
processor time of every turn, their ratios, and the pairs that are chosen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold

from gatentk import data, ntk
from gatentk.kernel_machines import NTKRegressorCV
from gatentk.scaling import unit_rows

DEPTHS = tuple(range(1, 11))
RIDGES = tuple(np.logspace(-6, 1, 20).tolist())
FOLDS = 5

Choice = tuple[int, float]


def sides(n: int, digit: int | None) -> tuple[Callable[[], Choice], Callable[[], Choice]]:
    """Ours and the peer's choice of depth and ridge."""
    samples = data.load("mnist", n=n)
    assert samples.y is not None
    x, numbers = unit_rows(samples.x).numpy(), samples.y.numpy()
    y: Any = 2.0 * (numbers[:, None] == np.arange(10)) - 1
    y = y if digit is None else y[:, digit]
    kernels = ntk.infinite_sweep(x, depths=DEPTHS)

    def ours() -> Choice:
        machine = NTKRegressorCV(depths=DEPTHS, ridges=RIDGES).fit(x, y)
        row, column = np.unravel_index(np.nanargmin(machine.loo_errors_), machine.loo_errors_.shape)
        return int(machine.depths_[row]), float(machine.ridges_[column])

    def peer() -> Choice:
        best = []
        for depth, K in zip(DEPTHS, kernels, strict=True):
            grid = {"alpha": [ridge * K.diagonal().mean() for ridge in RIDGES]}
            folds = KFold(FOLDS, shuffle=True, random_state=0)
            machine = KernelRidge(kernel="precomputed")
            search = GridSearchCV(machine, grid, scoring="neg_mean_squared_error", cv=folds, refit=False).fit(K, y)
            column = int(search.cv_results_["mean_test_score"].argmax())
            best.append((-search.cv_results_["mean_test_score"][column], depth, RIDGES[column]))
        return min(best)[1:]

    return ours, peer


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3000, help="images")
    parser.add_argument("--digit", type=int, choices=range(10), metavar="0-9", help="one against the others")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    names = ("ours", "GridSearchCV")
    runs = dict(zip(names, sides(given.n, given.digit), strict=True))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(given.turns):
        for name, run in runs.items():
            start = time.perf_counter(), time.process_time()
            depth, ridge = run()
            taken[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
            wall, processor = taken[name][-1]
            print(f"turn {turn + 1}, {name}: {wall:.1f} s, processor {processor:.1f} s; ", end="")
            print(f"smallest error at depth {depth}, ridge {ridge:.1e}", flush=True)
    for k, what in enumerate(("wall", "processor")):
        ours, peer = (np.array([times[k] for times in taken[name]]) for name in names)
        ratios = peer / ours
        print(
            f"{what} time: {median(ours):.1f} s beside {median(peer):.1f} s, {median(ratios):.2f} times as long "
            f"({ratios.min():.2f} to {ratios.max():.2f})"
        )


if __name__ == "__main__":
    main()
