"""What a study computes. Nothing here loads torch: the command line takes its defaults from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatentk.activations import FUNCTIONS

DTYPES = ("float64", "float32")
MOST_NETWORKS = 10_000_000  # their list stays in memory


@dataclass(frozen=True)
class StudyConfig:
    """What to compute.

    Attributes:
        data, path, n, data_seed, label, index, header: the arguments of `gatentk.data.load`.
        drop_zero_rows, drop_duplicates: remove rows that have no angle, or equal an earlier row.
        depths: numbers of hidden layers, ascending.
        activations: some of "relu", "linear".
        width: of the finite networks; None leaves them out.
        infinite: whether to compute infinite width.
        seeds: number of finite networks a depth and activation, seeded 0 .. seeds - 1.
        subset: number of samples for finite width, drawn with `data_seed`; None means all. Infinite width is
            then computed on all samples and on the subset, so that the two widths can be compared.
        batch: size of random disjoint mini-batches, each with a kernel of its own; None means one kernel.
        dtype: "float64" or "float32", of the networks and kernels.
        certify: prove intervals for the extreme eigenvalues.
    """

    data: str
    path: str | None = None
    n: int | None = None
    data_seed: int = 0
    drop_zero_rows: bool = False
    drop_duplicates: bool = False
    depths: tuple[int, ...] = tuple(range(11))
    activations: tuple[str, ...] = FUNCTIONS
    width: int | None = 512
    infinite: bool = True
    seeds: int = 5
    subset: int | None = None
    batch: int | None = None
    dtype: str = "float64"
    certify: bool = False
    label: str | None = None
    index: bool | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        from gatentk.checks import check_choice, check_integer

        if not self.depths or list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"depths: expected different depths in ascending order, got {self.depths}")
        check_integer("depths", self.depths[0], 0)
        if not self.activations or len(set(self.activations)) != len(self.activations):
            raise ValueError(f"activations: expected different names, got {self.activations}")
        for activation in self.activations:
            check_choice("activations", activation, FUNCTIONS)
        check_choice("dtype", self.dtype, DTYPES)
        if self.width is None and not self.infinite:
            raise ValueError("width: expected a number of neurons, or infinite=True, or both; got neither")
        check_integer("seeds", self.seeds, 1)
        networks = len(self.depths) * len(self.activations) * self.seeds if self.width is not None else 0
        if networks > MOST_NETWORKS:
            raise ValueError(f"seeds: expected at most {MOST_NETWORKS:,} networks in all, got {networks:,}")
        for name, minimum in (("width", 1), ("subset", 2), ("batch", 2)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), minimum)


def depths_text(depths: Sequence[int]) -> str:
    """Depths in short, as the command line takes them: a:b, a:b:step or a list."""
    if len(depths) > 2:
        step = depths[1] - depths[0]
        if list(depths) == list(range(depths[0], depths[-1] + 1, step)):
            return f"{depths[0]}:{depths[-1]}" + (f":{step}" if step > 1 else "")
    return ",".join(map(str, depths))
