"""Sums of Hadamard products of Gram matrices by the CUDA kernels, in every configuration."""

import itertools

import pytest
import torch
from cases.devices import made_up
from cases.stored import DEVICE, DTYPES, PRECISIONS, SUFFIXES, Matrix, filled, within_rule

NAMES = [
    *("strict_128x128", "strict_64x64", "tf32x3_128x128", "tf32x3_64x64", "tf32_128x128", "tf32_64x64"),
    *("f64_64x64", "f64_32x32"),
]
CONFIGURATIONS = pytest.mark.parametrize("name", NAMES)
ACCURATE = pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("tf32_")])


def arithmetic(name):
    return name.split("_")[0]


class Problem:
    """Terms of `widths` (of act, of delta); symmetric if `columns` is None. Options are those of Matrix."""

    def __init__(self, name, rows, columns, widths, bias=0.0, seed=0, **options):
        g, dtype = torch.Generator().manual_seed(seed), DTYPES[arithmetic(name)]
        self.name, self.rows, self.columns, self.bias = name, rows, columns, bias
        self.terms = []
        for term in widths:
            left, right = (
                [Matrix(g, n, width, dtype, in_chunks=True, **options) for width in term] for n in (rows, columns or 0)
            )
            right = left if columns is None else right
            self.terms.append((left, right))

    def run(self, emulated, chosen=True, padding=0):
        dtype = DTYPES[arithmetic(self.name)]
        columns = self.rows if self.columns is None else self.columns
        out = filled(self.rows, columns, dtype, padding)
        getattr(emulated, f"gram_{SUFFIXES[dtype]}")(
            self.rows,
            columns,
            self.columns is None,
            [
                (act.view, act_b.view, delta.view, delta_b.view, self.bias)
                for (act, delta), (act_b, delta_b) in self.terms
            ],
            out.data_ptr(),
            out.stride(0),
            PRECISIONS[arithmetic(self.name)],
            DEVICE,
            configuration=NAMES.index(self.name) if chosen else -1,
        )
        assert padding == 0 or out._base[:, columns:].isnan().all()  # nothing is written beyond a row
        return out

    def torch(self, dtype=None):
        """The same in plain torch."""
        total = None
        for left, right in self.terms:
            act, delta, act_b, delta_b = (m.values if dtype is None else m.values.to(dtype) for m in (*left, *right))
            by_act = act @ act_b.T + self.bias
            term = by_act * (delta @ delta_b.T) if delta.shape[1] else by_act
            total = term if total is None else total + term
        return total

    def exact(self):
        return self.torch(torch.float64).to(DTYPES[arithmetic(self.name)])


def test_names_are_those_of_the_table(emulated):
    table = emulated.gram_configurations()
    assert [entry["name"] for entry in table] == NAMES
    for index, entry in enumerate(table):
        assert entry["kernels"] == [f"gram_kernel<{index}>"]
        # What a multiprocessor of each architecture has, of which every block takes 1 KB more.
        for architecture, kilobytes in ((80, 164), (90, 228), (100, 228)):
            assert entry["resident"][architecture] * (entry["shared_bytes"] + 1024) <= kilobytes * 1024


# Whole numbers of at most 2: every arithmetic multiplies and sums them exactly


@CONFIGURATIONS
@pytest.mark.parametrize("columns", [None, 41])
def test_terms_and_bias(emulated, name, columns):
    problem = Problem(name, 37, columns, [(50, 33), (20, 40)], bias=1.0, largest=2)
    result = problem.run(emulated, padding=3)
    assert torch.equal(result, problem.exact())


@CONFIGURATIONS
@pytest.mark.parametrize(("rows", "columns"), [(1, None), (130, None), (135, 70), (64, 64), (2, 131)])
def test_shapes_with_ragged_edges(emulated, name, rows, columns):
    problem = Problem(name, rows, columns, [(36, 17)], largest=2)
    assert torch.equal(problem.run(emulated), problem.exact())


@CONFIGURATIONS
def test_empty_factors(emulated, name):
    # A delta without columns counts as ones; an act without columns leaves the bias.
    for widths in ([(20, 0)], [(0, 20)], [(0, 0)], [(30, 12), (5, 0)]):
        problem = Problem(name, 20, None, widths, bias=2.0, largest=2)
        assert torch.equal(problem.run(emulated), problem.exact())
    for rows, columns in ((0, None), (0, 3), (3, 0)):
        assert Problem(name, rows, columns, [(4, 4)]).run(emulated).numel() == 0


@CONFIGURATIONS
@pytest.mark.parametrize("columns", [None, 15])
def test_more_terms_than_one_launch_takes(emulated, name, columns):
    problem = Problem(name, 20, columns, [(6, 3)] * 17, largest=2)
    assert torch.equal(problem.run(emulated), problem.exact())


@CONFIGURATIONS
@pytest.mark.parametrize(("padding", "offset"), [(8, 0), (0, 4), (4, 8)])
def test_strides_and_offsets_of_whole_chunks(emulated, name, padding, offset):
    problem = Problem(name, 40, None, [(40, 26)], largest=2, padding=padding, offset=offset)
    assert torch.equal(problem.run(emulated), problem.exact())


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("rows that start at multiples of 16 bytes", {"offset": 1}),
        ("rows that start at multiples of 16 bytes", {"padding": 3}),
        ("rows without gates, not columns", {"gated": True}),
        ("rows without gates, not columns", {"transposed": True}),
    ],
)
def test_factors_that_no_copy_serves_are_refused(emulated, message, options):
    with pytest.raises(ValueError, match=f"^factors: expected {message}$"):
        Problem("f64_64x64", 9, None, [(8, 8)], **options).run(emulated)


@CONFIGURATIONS
def test_any_order_of_lanes_gives_the_same(emulated, lane_order, name):
    problem = Problem(name, 70, None, [(40, 20), (10, 40)], largest=2)
    assert torch.equal(problem.run(emulated), problem.exact())


@CONFIGURATIONS
def test_sums_that_are_added_in_parts(emulated, name):
    # Longer than what is summed in registers alone: 128 columns, by tf32x3 512.
    problem = Problem(name, 9, None, [(530, 530)], largest=1)
    assert torch.equal(problem.run(emulated), problem.exact())


# Rounding


@ACCURATE
@pytest.mark.parametrize(
    ("widths", "gated"), [([(64, 64)], False), ([(128, 128)], True), ([(300, 70), (64, 550)], True)]
)
@pytest.mark.parametrize("columns", [None, 50])
@pytest.mark.parametrize("positive", [False, True])
def test_accuracy_rule(emulated, tensor_cores, name, widths, gated, columns, positive):
    # Largest errors scatter: by tf32x3 over 128 gated columns that of 2,500 outputs is 0.5 to 2.4 times torch's with
    # eight seeds, and the root of their mean square 1.1 to 1.3 times.
    problem = Problem(name, 50, columns, widths, gated=gated, seed=1)
    for matrix in itertools.chain(*itertools.chain(*problem.terms)):
        matrix.apply_gates()
        if positive:  # errors that all point to zero add up
            matrix.values.abs_()
            matrix.stored.abs_()
    result, dense = problem.run(emulated), problem.torch()
    if columns is None:
        assert torch.equal(result, result.T)
    if arithmetic(name) == "f64":
        # Against products of float32 numbers in float64 there is no wider reference in torch: bound the rounding.
        size = max(act + delta for act, delta in widths)
        scale = problem.torch().abs().max()
        assert (result - dense).abs().max() <= 2 * size**0.5 * torch.finfo(torch.float64).eps * scale
    else:
        exact = problem.torch(torch.float64)
        assert within_rule(result, dense, exact)
        error, of_torch = ((r.double() - exact).square().mean().sqrt() for r in (result, dense))
        assert error <= 1.6 * of_torch


def test_terms_with_narrow_factors_are_strict_under_tf32x3(emulated):
    for widths in ([(100, 5)], [(5, 100)], [(63, 0)]):
        problem = Problem("tf32x3_64x64", 20, None, widths)
        strict = Problem("strict_64x64", 20, None, widths)
        assert torch.equal(problem.run(emulated, chosen=False), strict.run(emulated))


@pytest.mark.parametrize("columns", [None, 30])
def test_narrow_and_wide_terms_are_added_up(emulated, columns):
    problem = Problem("tf32x3_64x64", 40, columns, [(5, 100), (70, 80), (90, 1), (64, 0)], bias=1.0)
    result = problem.run(emulated, chosen=False)
    assert within_rule(result, problem.torch(), problem.torch(torch.float64))
    assert columns or torch.equal(result, result.T)


# Choice of configurations


@pytest.mark.parametrize("kind", ["strict", "tf32x3", "tf32"])
@pytest.mark.parametrize(("architecture", "multiprocessors"), [(80, 108), (90, 132), (100, 148)])
def test_choice(emulated, kind, architecture, multiprocessors):
    def name(rows, columns, symmetric):
        return NAMES[emulated.choose_gram(kind, made_up(architecture, multiprocessors), rows, columns, symmetric)]

    assert name(8192, 8192, True) == name(8192, 8192, False) == f"{kind}_128x128"
    assert name(500, 500, True) == name(300, 300, False) == f"{kind}_64x64"


def test_configurations_of_another_arithmetic_are_refused(emulated):
    problem = Problem("strict_64x64", 5, None, [(5, 5)])
    problem.name = "tf32x3_64x64"
    index = NAMES.index("strict_64x64")
    act, delta = problem.terms[0][0]
    with pytest.raises(ValueError, match="configuration"):
        emulated.gram_f32(5, 5, True, [(act.view, act.view, delta.view, delta.view, 0.0)], 0, 5, 1, DEVICE, index)
