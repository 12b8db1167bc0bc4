"""How much memory a kernel of finite width takes."""

from __future__ import annotations

from dataclasses import dataclass

PADDING = 16  # rows that packed copies are filled up by, about

# Packed rows and panels of terms that Gram products hold at once, as csrc/cpu/gram.cpp has them.
PACKED_ROWS = 128 << 20
LEAST_ROWS = 128
PACKED_PANELS = {4: 512 << 20, 8: 4 << 20}


@dataclass(frozen=True)
class Term:
    """What the products of one parameter's factors hold beside these, in bytes of a sample.

    Attributes:
        copied: of factors that are cut out of larger ones.
        packed: a copy of both factors of a term.
        count: terms that are added up.
    """

    copied: int
    packed: int
    count: int

    def peak(self, left: int, right: int, itemsize: int) -> int:
        """Bytes for a block of so many rows and columns; a packed row holds its places beside its values."""
        panels = (right + PADDING) * self.packed
        together = min(self.count, max(1, PACKED_PANELS[itemsize] // max(panels, 1)))
        row = max(5 * together * self.packed // 4, 1)
        return left * self.copied + together * panels + row * min(left + PADDING, max(LEAST_ROWS, PACKED_ROWS // row))


@dataclass(frozen=True)
class Footprint:
    """Bytes that a kernel by layers takes beside its result.

    Attributes:
        itemsize: of an element.
        copies: of what the network holds, while it is called.
        trained: of its gradients, which are compared once.
        recorded: of a sample, what the layers take, give and get back, and what automatic differentiation keeps.
        made: of a sample, while what its parameters contribute is made of that.
        held: of a sample, what they contribute.
        terms: of each parameter's products.
        pair: of a pair of samples, the block that is added to the result.

    >>> parts = Footprint(8, 1000, 800, 500, 400, 300, (Term(0, 300, 1),), 8)
    >>> parts.peak(100, 0), parts.peak(100, 20)
    (188300, 106300)
    >>> parts.chunk(1000, 0, 150_000)
    74
    """

    itemsize: int
    copies: int
    trained: int
    recorded: int
    made: int
    held: int
    terms: tuple[Term, ...]
    pair: int

    def peak(self, left: int, right: int) -> int:
        """Of the kernel of chunks of so many samples, of those on the left with themselves if there are 0 on the right.

        What is held of the left ones stays while that of others is made.
        """
        called = max(left * self.recorded, left * self.held + right * self.recorded if right else 0)
        return max(self.copies + self.trained, self.copies + called, self.of_samples(left, right))

    def of_samples(self, left: int, right: int) -> int:
        """The same without copies of what the network holds."""
        columns, held = right or left, left * self.held if right else 0
        each = (t.peak(left, columns, self.itemsize) + right * t.copied for t in self.terms)
        return max(
            left * max(self.recorded, self.made),
            held + right * max(self.recorded, self.made),
            (left + right) * self.held + max(each, default=0) + left * columns * self.pair,
        )

    def chunk(self, rows: int, columns: int, limit: int) -> int:
        """The most samples at a time that take no more than the limit, of `rows` and, if not 0, other `columns`.

        0 if even one takes more. Copies of what the network holds are not counted: nobody can do without them.
        """

        def fits(count: int) -> bool:
            alone = count >= rows and not columns
            return self.of_samples(min(count, rows), 0 if alone else min(count, columns or rows)) <= limit

        low, high = 0, max(rows, columns) + 1
        if fits(high - 1):
            return high - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low


def layerwise_memory(n: int, width: int, depth: int, itemsize: int, outputs: int = 1) -> int:
    """Bytes at the peak of the layerwise kernel of n samples with themselves, beside network and samples.

    Of each layer stay activations and what flows back; packed copies of both are held for as many layers as products
    add up at once. Measured at n = 50 to 4000, width 16 to 400,000, depth 1 to 8: within a factor 1.5.

    >>> layerwise_memory(n=1000, width=2000, depth=4, itemsize=8) // 10**6
    209
    """
    neurons = width * itemsize
    # The first matrix has narrow activations, the last one narrow outputs.
    term = Term(0, neurons * (1 + outputs if depth > 1 else outputs), depth)
    return n * depth * (1 + outputs) * neurons + term.peak(n, n, itemsize) + n * n * itemsize


def mlp_memory(d_in: int, width: int, depth: int, itemsize: int, d_out: int = 1) -> int:
    """Bytes of the weights of a `gatentk.nn.MLP`.

    >>> mlp_memory(64, 1000, 3, itemsize=4)
    8260000
    """
    if depth == 0:
        return d_in * d_out * itemsize
    return (d_in + (depth - 1) * width + d_out) * width * itemsize
