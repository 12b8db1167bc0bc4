"""Weight gradients of gates that blocks of neurons share, by the CUDA kernels in every configuration."""

import numpy as np
import pytest
import torch
from cases.devices import SHARED_BYTES, made_up
from cases.stored import DEVICE, DTYPES, PRECISIONS, SUFFIXES, filled, packed, pages

NAMES = [
    *("bf16_256x128", "bf16_128x128", "bf16_64x64", "tf32_256x128", "tf32_128x128", "tf32_64x64"),
    *("tf32x3_128x128", "tf32x3_64x64", "tf32x3_64x64_w2", "tf32x3_32x32"),
    *("f64_64x64", "f64_32x32"),
]
KINDS = ("bf16", "tf32", "tf32x3", "f64")
CONFIGURATIONS = pytest.mark.parametrize("name", NAMES)
ACCURATE = pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("tf32_")])
NO_GATES = (0, 0)


def arithmetic(name):
    return name.split("_")[0]


def tile(name):
    """Rows and columns of a configuration's tile."""
    return tuple(int(size) for size in name.split("_")[1].split("x"))


class Factor:
    """A row of `width` elements for each of n samples; what gates of blocks switch off is NaN or infinite."""

    def __init__(self, g, n, width, kind, block=0, density=0.5, largest=None):
        dtype = DTYPES[kind]
        shape = (n, width)
        values = torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)
        if largest is not None:
            values = torch.randint(-largest, largest + 1, shape, generator=g).to(dtype)
        self.block, self.gates = block, None
        self.values, self.stored = values, torch.full((n, width + 16), torch.nan, dtype=dtype)[:, :width]
        if block:
            self.switch(torch.rand(n, -(-width // block), generator=g) < density)
        self.stored.copy_(self.values)

    def switch(self, gates):
        """Sets the gates, a column a unit."""
        self.gates = gates
        on = gates.repeat_interleave(self.block, dim=1)[:, : self.values.shape[1]]
        self.values = torch.where(on, self.values, 0)
        self.stored.copy_(
            torch.where(on, self.values, torch.where(torch.arange(len(on))[:, None] % 2 == 0, torch.nan, torch.inf))
        )
        self.bits = packed(gates.T)

    @property
    def view(self):
        n, width = self.stored.shape
        return (self.stored.data_ptr(), width, n, self.stored.stride(0), NO_GATES, True)

    @property
    def unit_gates(self):
        return NO_GATES if self.gates is None else (self.bits.data_ptr(), self.bits.stride(0))


class Problem:
    """Two factors, and their product by the kernel and exactly."""

    def __init__(self, kind, n, rows, columns, blocks, seed=0, **options):
        g = torch.Generator().manual_seed(seed)
        self.kind = kind
        self.left, self.right = (
            Factor(g, n, width, kind, block, **options) for width, block in zip((rows, columns), blocks, strict=True)
        )

    def run(self, emulated, name=None, device=DEVICE, out=None):
        left, right = self.left, self.right
        dtype = DTYPES[self.kind]
        out = filled(left.values.shape[1], right.values.shape[1], dtype, padding=16) if out is None else out
        getattr(emulated, f"block_weight_gradient_{SUFFIXES[dtype]}")(
            left.view,
            right.view,
            out.data_ptr(),
            out.stride(0),
            left.unit_gates,
            left.block,
            right.unit_gates,
            right.block,
            PRECISIONS[self.kind],
            device,
            configuration=-1 if name is None else NAMES.index(name),
        )
        return out

    def exact(self):
        return (self.left.values.double().T @ self.right.values.double()).to(DTYPES[self.kind])


def whole(name, n, rows, columns, blocks, **options):
    """Small whole numbers, which every arithmetic multiplies and sums exactly."""
    kind = arithmetic(name)
    return Problem(kind, n, rows, columns, blocks, largest=1 if kind == "bf16" else 4, **options)


def test_names_are_those_of_the_table(emulated):
    table = emulated.block_weight_gradient_configurations()
    assert [entry["name"] for entry in table] == NAMES
    for index, entry in enumerate(table):
        assert entry["kernels"] == [f"weight_gradient_kernel<{index}>"]
        assert (entry["tile_rows"], entry["tile_columns"]) == tile(entry["name"])
        # What a multiprocessor of each architecture has, of which every block takes 1 KB more.
        for architecture, kilobytes in ((80, 164), (90, 228), (100, 228)):
            assert entry["resident"][architecture] * (entry["shared_bytes"] + 1024) <= kilobytes * 1024


# Whole numbers: every index, list and edge


@CONFIGURATIONS
@pytest.mark.parametrize("blocks", [(40, 24), (40, 0), (0, 24), (0, 0), (104, 56)])
def test_ragged_samples_widths_and_blocks(emulated, name, blocks):
    problem = whole(name, 75, 104, 56, blocks)
    out = problem.run(emulated, name)
    assert torch.equal(out, problem.exact())
    assert out._base[:, 56:].isnan().all()  # nothing is written beyond a row


@CONFIGURATIONS
def test_units_of_several_tiles(emulated, name):
    rows, columns = tile(name)
    problem = whole(name, 70, 2 * rows + 40, 2 * columns + 24, (rows + 24, columns + 8))
    assert torch.equal(problem.run(emulated, name), problem.exact())


@CONFIGURATIONS
def test_any_order_of_lanes_gives_the_same(emulated, lane_order, name):
    problem = whole(name, 150, 64, 48, (32, 24), density=0.8)
    assert torch.equal(problem.run(emulated, name), problem.exact())


@CONFIGURATIONS
@pytest.mark.parametrize(("n", "density"), [(1, 1), (32, 1), (65, 1), (33, 0.5)])
def test_numbers_of_samples_about_words_and_tiles(emulated, name, n, density):
    problem = whole(name, n, 16, 16, (8, 8), density=density)
    assert torch.equal(problem.run(emulated, name), problem.exact())


@CONFIGURATIONS
def test_pairs_without_a_common_sample_become_zeros(emulated, name):
    problem = whole(name, 100, 48, 48, (24, 24))
    on = torch.arange(100)[:, None] % 2 == 0
    problem.left.switch(torch.cat([on, ~on], dim=1))
    problem.right.switch(torch.cat([on, torch.zeros_like(on)], dim=1))
    out = problem.run(emulated, name)
    assert torch.equal(out, problem.exact())
    assert out[:24, :24].any()
    assert not out[24:].any()
    assert not out[:, 24:].any()


@CONFIGURATIONS
def test_no_sample_at_all(emulated, name):
    problem = whole(name, 0, 16, 24, (8, 8))
    assert not problem.run(emulated, name).any()


# A block of threads looks through 4096 samples at once, 1024 or 512 where it has few threads.
PIECES = (512, 1024, 4096)


@CONFIGURATIONS
@pytest.mark.parametrize("seed", [0, 1])
def test_lists_longer_than_a_piece(emulated, name, seed):
    # Few samples are on: what a piece leaves is carried on, and some pieces hold nothing.
    problem = whole(name, 3 * 4096 + 77, 16, 16, (16, 8), density=0.15, seed=seed)
    problem.left.switch(problem.left.gates & (torch.arange(len(problem.left.values)) // 300 % 4 != 1)[:, None])
    assert torch.equal(problem.run(emulated, name), problem.exact())


@CONFIGURATIONS
@pytest.mark.parametrize("around", [-1, 1])
def test_samples_at_the_borders_of_pieces(emulated, name, around):
    n = 2 * 4096 + 200
    problem = whole(name, n, 16, 16, (16, 8), density=1)
    numbers = torch.arange(n)
    near = torch.zeros(n, dtype=torch.bool)
    for piece in PIECES:
        # As many as leave a remainder of a tile, up to the border and beyond it.
        near |= (numbers - piece - around).abs() <= 21
    near[-1] = near[0] = True
    problem.left.switch(near[:, None])
    assert torch.equal(problem.run(emulated, name), problem.exact())


@pytest.mark.parametrize("name", ["bf16_64x64", "tf32_64x64", "tf32x3_32x32", "f64_32x32"])
@pytest.mark.parametrize("blocks", [(16, 8), (0, 8), (0, 0)])
def test_pieces_of_which_all_are_on(emulated, name, blocks):
    problem = whole(name, 1024 + 530, 16, 16, blocks, density=1)
    assert torch.equal(problem.run(emulated, name), problem.exact())


@CONFIGURATIONS
def test_samples_that_are_off_are_not_read(emulated, name):
    problem = whole(name, 40, 32, 32, (16, 16))
    off = (torch.arange(40) >= 10) & (torch.arange(40) < 30)
    for factor in (problem.left, problem.right):
        factor.switch(factor.gates & ~off[:, None])
    with pages(40, DTYPES[problem.kind]) as (rows, protect):
        rows[:, :32] = problem.left.stored
        problem.left.stored = rows[:, :32]
        protect(10, 30)
        out = problem.run(emulated, name)
    assert torch.equal(out, problem.exact())


# Rounding


@ACCURATE
@pytest.mark.parametrize(("n", "positive"), [(70, False), (300, True), (1200, False)])
def test_accuracy_rule(emulated, name, n, positive):
    rows, columns = (min(side, 64) for side in tile(name))
    problem = Problem(arithmetic(name), n, rows, columns, (0, columns), seed=n, density=0.95)
    if positive:
        for factor in (problem.left, problem.right):
            factor.values, _ = factor.values.abs(), factor.stored.abs_()
    dtype = DTYPES[problem.kind]
    a, b = (factor.values.double().numpy().astype(np.longdouble) for factor in (problem.left, problem.right))
    reference = a.T @ b
    result, dense = problem.run(emulated, name), problem.left.values.T @ problem.right.values
    assert dense.dtype == dtype
    error, allowed = (np.abs(r.double().numpy() - reference).max() for r in (result, dense))
    assert error <= 2 * allowed


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("tf32_")])
def test_tf32_rounds_elements_to_eleven_bits(emulated, name):
    problem = Problem("tf32", 500, 64, 32, (0, 0))
    a, b = (factor.values.double() for factor in (problem.left, problem.right))
    error = (problem.run(emulated, name) - a.T @ b).abs()
    assert (error <= 2**-10 * (a.abs().T @ b.abs())).all()
    assert error.max() > 1e-4


@CONFIGURATIONS
def test_nans_of_samples_that_are_on_arrive(emulated, name):
    problem = whole(name, 90, 32, 32, (16, 16))
    on = torch.ones(90, 2, dtype=torch.bool)
    on[40, 1] = False
    for factor, column in ((problem.left, 3), (problem.right, 20)):
        factor.switch(on)
        if factor.stored.dtype == torch.float32:
            # As a GPU makes it: all bits of the mantissa are on, and rounding up would carry into the sign.
            factor.stored.view(torch.int32)[[40, 50], [column % 16, column]] = 0x7FFFFFFF
        else:
            factor.stored[[40, 50], [column % 16, column]] = torch.nan
    out = problem.run(emulated, name)
    nan = torch.zeros(32, 32, dtype=torch.bool)
    nan[3] = nan[:, 20] = True  # sample 50 is on everywhere
    nan[:16, 4] = True  # sample 40 in the first unit of both
    assert torch.equal(out.isnan(), nan)


# Choice of configurations


def chosen(emulated, kind, device, rows, block_left, columns, block_right):
    return NAMES[emulated.choose_block_weight_gradient(kind, device, rows, block_left, columns, block_right)]


@pytest.mark.parametrize("kind", ["bf16", "tf32"])
@pytest.mark.parametrize(("architecture", "multiprocessors"), [(80, 108), (90, 132), (100, 148)])
def test_tiles_are_as_large_as_units_allow(emulated, kind, architecture, multiprocessors):
    device = made_up(architecture, multiprocessors)
    for block, sides in ((32, "64x64"), (64, "64x64"), (128, "128x128")):
        assert chosen(emulated, kind, device, 8192, block, 8192, block) == f"{kind}_{sides}"
    for blocks in ((256, 256), (0, 0), (256, 128)):
        name = chosen(emulated, kind, device, 8192, blocks[0], 8192, blocks[1])
        assert name in (f"{kind}_256x128", f"{kind}_128x128")
    # Few outputs: small tiles fill the GPU.
    assert chosen(emulated, kind, device, 512, 128, 512, 128) == f"{kind}_64x64"


def test_few_warps_only_where_four_blocks_share_a_multiprocessor(emulated):
    for device, name in ((made_up(80, 108), "tf32x3_64x64"), (made_up(90, 132), "tf32x3_64x64_w2")):
        assert chosen(emulated, "tf32x3", device, 8192, 64, 8192, 64) == name
        assert chosen(emulated, "tf32x3", device, 8192, 128, 8192, 128) == "tf32x3_128x128"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", sorted({*SHARED_BYTES.values()}))
@pytest.mark.parametrize("multiprocessors", [1, 108, 132])
def test_what_is_chosen_starts(emulated, kind, limit, multiprocessors):
    table = emulated.block_weight_gradient_configurations()
    for sizes in ((1, 0, 1, 0), (300, 64, 300, 0), (4096, 128, 4096, 128), (8192, 256, 8192, 32)):
        index = emulated.choose_block_weight_gradient(kind, made_up(80, multiprocessors, limit), *sizes)
        assert table[index]["arithmetic"] == kind
        assert table[index]["shared_bytes"] <= limit


@pytest.mark.parametrize("kind", KINDS)
def test_the_chosen_configuration_runs(emulated, kind):
    for device in (DEVICE, made_up(86, 1)):
        problem = Problem(kind, 70, 80, 48, (40, 24), largest=1)
        assert torch.equal(problem.run(emulated, device=device), problem.exact())


def test_devices_on_which_nothing_starts_are_refused_with_both_sizes(emulated):
    problem = Problem("f64", 9, 16, 16, (8, 8))
    least = min(e["shared_bytes"] for e in emulated.block_weight_gradient_configurations() if e["arithmetic"] == "f64")
    with pytest.raises(RuntimeError, match=f"^block_weight_gradient: needs {least} bytes .* has {least - 1}$"):
        problem.run(emulated, device=made_up(80, 108, least - 1))


# What is refused


def test_configurations_of_another_arithmetic_are_refused(emulated):
    problem = Problem("tf32", 70, 16, 16, (8, 8))
    out = filled(16, 16, torch.float32)
    for name in ("bf16_64x64", "tf32x3_64x64", "f64_32x32"):
        with pytest.raises(ValueError, match="configuration"):
            problem.run(emulated, name, out=out)
    assert out.isnan().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": lambda view: (*view[:5], False)}, "left: expected a transposed view"),
        ({"right": lambda view: (view[0] + 4, *view[1:])}, "right: expected an address"),
        (
            {"left": lambda view: (*view[:3], view[3] + 1, *view[4:])},
            "left: stride: expected a multiple of 16 bytes, got 33",
        ),
        ({"right": lambda view: (view[0], 15, *view[2:])}, "right: rows: expected a multiple of 16 bytes, got 15"),
        ({"right": lambda view: (*view[:2], 71, *view[3:])}, "right: expected 70 samples, as left has, got 71"),
        ({"block_left": lambda _: 6}, "left: block: expected a multiple of 16 bytes, got 6 elements of 4"),
        ({"block_left": lambda _: 0}, "left: expected blocks of one neuron at least, got 0"),
        ({"unit_gates_right": lambda gates: (gates[0] + 1, gates[1])}, "right: expected rows of bits"),
        ({"out_stride": lambda _: 18}, "out: stride: expected a multiple of 16 bytes"),
        ({"precision": lambda _: 0}, "precision: expected tf32x3 or tf32, got strict"),
        (
            {"left": lambda view: (*view[:2], 63, *view[3:]), "right": lambda view: (*view[:2], 63, *view[3:])},
            "precision: expected 64 samples",
        ),
    ],
)
def test_what_the_kernel_cannot_take_is_refused(emulated, change, message):
    problem = Problem("tf32x3", 70, 16, 16, (8, 8))
    out = filled(16, 16, torch.float32)
    arguments = {
        "left": problem.left.view,
        "right": problem.right.view,
        "out": out.data_ptr(),
        "out_stride": 16,
        "unit_gates_left": problem.left.unit_gates,
        "block_left": 8,
        "unit_gates_right": problem.right.unit_gates,
        "block_right": 8,
        "precision": 1,
        "device": DEVICE,
    }
    for name, changed in change.items():
        arguments[name] = changed(arguments[name])
    with pytest.raises(ValueError, match=message):
        emulated.block_weight_gradient_f32(**arguments)
    assert out.isnan().all()
