"""The emulator of CUDA: instructions against what the PTX ISA says of them, and planted bugs that it must catch."""

import ctypes
import math
import subprocess
from fractions import Fraction

import numpy as np
import pytest
import torch
from cases import emulation_build

LANES = np.arange(32)
GROUP, MEMBER = LANES // 4, LANES % 4


def built(build, *arguments):
    """What a build gives, or a test failure in the compiler's words."""
    try:
        return build(*arguments)
    except emulation_build.CompileError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def instructions():
    """The library of single instructions."""
    return ctypes.CDLL(str(built(emulation_build.instructions)))


@pytest.fixture(params=["forward", "reversed", "shuffled"])
def order(request, instructions):
    """Every order of lanes in turn."""
    orders = ["forward", "reversed", "shuffled"]
    instructions.gatentk_set_lane_order(orders.index(request.param), ctypes.c_uint(3))
    yield request.param
    instructions.gatentk_set_lane_order(0, ctypes.c_uint(0))


@pytest.fixture(params=[80, 90])
def tensor_cores(request, instructions):
    """Tensor cores of every kind that the emulator knows."""
    instructions.gatentk_set_tensor_cores(request.param)
    yield request.param
    instructions.gatentk_set_tensor_cores(80)


def address(array):
    """Pointer to the data of a contiguous array."""
    assert array.flags.c_contiguous
    return array.ctypes.data_as(ctypes.c_void_p)


def bits_of(values):
    """Floats as uint32."""
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)


# Row and column of accumulator element i of each lane ("Matrix Fragments for mma", accumulators of all shapes here).
def accumulator_map(elements):
    i = np.arange(elements)
    row = GROUP[:, None] + np.where(i < 2, 0, 8)
    column = 2 * MEMBER[:, None] + (i & 1)
    return row, column


def exponent_of(x):
    """That of the leading digit; subnormal numbers have the exponent of the least normal one."""
    return max(math.frexp(x)[1] - 1, -126)


def add_products(products, exponents, c, fraction_bits):
    """Of exact products and c, aligned to the largest exponent: the sum of what is kept of them, cut off to a float."""
    unit = Fraction(2) ** (max([*exponents, exponent_of(c)]) - fraction_bits)
    total = sum(math.trunc(term / unit) for term in (*products, Fraction(c))) * unit
    last = Fraction(2) ** (exponent_of(float(total)) - 23)
    return float(math.trunc(total / last) * last)


def tensor_core(architecture, a, b, c):
    """c + a @ b as the published models have it, of finite numbers."""
    depth = a.shape[1]
    at_once, fraction_bits = (depth // 2, 24) if architecture == 80 else (depth, 25)
    result = c.copy()
    for (row, column), value in np.ndenumerate(c):
        total = float(value)
        for first in range(0, depth, at_once):
            pairs = [(float(a[row, k]), float(b[k, column])) for k in range(first, first + at_once)]
            products = [Fraction(x) * Fraction(y) for x, y in pairs]
            exponents = [exponent_of(x) + exponent_of(y) for x, y in pairs if x * y]
            total = add_products(products, exponents, total, fraction_bits)
        result[row, column] = total
    return result


def mma_tf32(instructions, a, b, c):
    """d of mma_tf32 for A (16, 8), B (8, 8) and C (16, 8)."""
    # A: row = group for a0 and a2, else group + 8; column = member for a0 and a1, else member + 4.
    left = np.stack([a[GROUP, MEMBER], a[GROUP + 8, MEMBER], a[GROUP, MEMBER + 4], a[GROUP + 8, MEMBER + 4]], axis=1)
    right = np.stack([b[MEMBER, GROUP], b[MEMBER + 4, GROUP]], axis=1)
    position = accumulator_map(4)
    d = np.ascontiguousarray(c[position])
    # The low 13 bits of the operands are not looked at.
    noise = np.random.default_rng(0).integers(0, 1 << 13, size=(32, 4), dtype=np.uint32)
    noise *= np.isfinite(left)
    instructions.mma_tf32(address(bits_of(left) | noise), address(bits_of(right)), address(d))
    result = np.empty((16, 8), dtype=np.float32)
    result[position] = d
    return result


def mma_bf16(instructions, a, b, c):
    """d of mma_bf16 for A (16, 16), B (16, 8) and C (16, 8)."""
    a, b = (np.ascontiguousarray(bits_of(x) >> 16).astype(np.uint16) for x in (a, b))
    # A: row = group for i in 0..1 and 4..5, else group + 8; column = 2 member + (i & 1), 8 more for i >= 4.
    i = np.arange(8)
    row = GROUP[:, None] + np.where((i < 2) | ((i >= 4) & (i < 6)), 0, 8)
    left = a[row, 2 * MEMBER[:, None] + (i & 1) + np.where(i < 4, 0, 8)]
    # B: row = 2 member + (i & 1), 8 more for i >= 2; column = group.
    i = np.arange(4)
    right = b[2 * MEMBER[:, None] + (i & 1) + np.where(i < 2, 0, 8), GROUP[:, None]]
    position = accumulator_map(4)
    d = np.ascontiguousarray(c[position])
    instructions.mma_bf16(address(np.ascontiguousarray(left)), address(np.ascontiguousarray(right)), address(d))
    result = np.empty((16, 8), dtype=np.float32)
    result[position] = d
    return result


PRODUCTS = {"tf32": (mma_tf32, 8, 0xFFFFE000), "bf16": (mma_bf16, 16, 0xFFFF0000)}
BOTH_PRODUCTS = pytest.mark.parametrize("kind", PRODUCTS)


@BOTH_PRODUCTS
def test_mma_multiplies_matrices_in_the_documented_fragments(instructions, order, tensor_cores, kind):
    mma, depth, kept = PRODUCTS[kind]
    generator = np.random.default_rng(0)

    def numbers(*shape):
        values = generator.standard_normal(shape) * np.exp2(generator.integers(-9, 9, size=shape))
        return values.astype(np.float32)

    a, b = ((bits_of(x) & np.uint32(kept)).view(np.float32) for x in (numbers(16, depth), numbers(depth, 8)))
    c = numbers(16, 8)
    np.testing.assert_array_equal(mma(instructions, a, b, c), tensor_core(tensor_cores, a, b, c))


def one_sum(instructions, kind, pairs, c=0.0):
    """c and the products of pairs, in their order and then 0 * 0, as one element of a tensor core's result."""
    mma, depth, _ = PRODUCTS[kind]
    a, b = np.zeros((16, depth), dtype=np.float32), np.zeros((depth, 8), dtype=np.float32)
    for k, (x, y) in enumerate(pairs):
        a[3, k], b[k, 5] = x, y
    sums = np.full((16, 8), c, dtype=np.float32)
    result = mma(instructions, a, b, sums)
    others = np.ones((16, 8), dtype=bool)
    others[3] = others[:, 5] = False
    np.testing.assert_array_equal(result[others], sums[others])
    return result[3, 5]


@BOTH_PRODUCTS
@pytest.mark.parametrize("sign", [1, -1])
def test_tensor_cores_cut_every_product_at_the_largest_exponent(instructions, tensor_cores, kind, sign):
    last_kept = 2.0**-24 if tensor_cores == 80 else 2.0**-25

    def beside_one(small):
        return sign * one_sum(instructions, kind, [(sign * small, 1)] * 4, c=sign)

    # Four of what is kept change the sum, which itself is cut off; four of the next smaller size are lost together.
    assert beside_one(last_kept) == 1 + (2.0**-22 if tensor_cores == 80 else 2.0**-23)
    assert beside_one(last_kept / 2) == 1
    assert beside_one(1.75 * last_kept) == beside_one(last_kept)
    assert one_sum(instructions, kind, [(sign * 2.0**12, 2.0**12), (sign, 1)]) == sign * 2.0**24
    # The other way round: the sum is cut at the exponent of a product.
    assert one_sum(instructions, kind, [(1, 1), (-1, 1)], c=sign * last_kept) == sign * last_kept
    assert one_sum(instructions, kind, [(1, 1), (-1, 1)], c=sign * last_kept / 2) == 0


@BOTH_PRODUCTS
def test_products_are_aligned_before_they_are_normalized(instructions, tensor_cores, kind):
    last_kept = 2.0**-24 if tensor_cores == 80 else 2.0**-25
    assert one_sum(instructions, kind, [(1.5, 1.5), (-1.5, 1.5), (last_kept, 1)]) == last_kept
    assert one_sum(instructions, kind, [(2, 1), (-2, 1), (last_kept, 1)]) == 0


@BOTH_PRODUCTS
def test_tensor_cores_take_products_in_groups(instructions, tensor_cores, kind):
    # The float between two groups has no room for the second product.
    half = PRODUCTS[kind][1] // 2
    products = [(1, 1), (2.0**-24, 1)] + [(0, 0)] * (half - 2) + [(-1, 1)]
    assert one_sum(instructions, kind, products) == (0 if tensor_cores == 80 else 2.0**-24)


@BOTH_PRODUCTS
def test_tensor_cores_keep_subnormal_numbers(instructions, tensor_cores, kind):
    assert one_sum(instructions, kind, [(2.0**-130, 2.0**20)]) == 2.0**-110
    assert one_sum(instructions, kind, [(2.0**-70, 2.0**-70)]) == 2.0**-140
    assert one_sum(instructions, kind, [(2.0**-70, 2.0**-70)], c=2.0**-149) == np.float32(2.0**-140 + 2.0**-149)
    assert one_sum(instructions, kind, [(1.5 * 2.0**-75, 2.0**-74)] * 3) == 2.0**-147  # 4.5 * 2^-149


@BOTH_PRODUCTS
def test_tensor_cores_keep_infinities_and_nan(instructions, tensor_cores, kind):
    inf, large = np.inf, 2.0**127
    assert one_sum(instructions, kind, [(inf, 1)]) == inf
    assert one_sum(instructions, kind, [(1, 1)] * 8 + [(inf, -1)][: PRODUCTS[kind][1] - 8], c=-inf) == -inf
    assert one_sum(instructions, kind, [(large, large), (-large, large), (1, 1)]) == 0  # only a sum overflows
    assert one_sum(instructions, kind, [(large, 1), (large, 1)]) == inf
    assert one_sum(instructions, kind, [(0, 0)] * 5 + [(-large, 2)]) == -inf
    for pairs, c in [([(inf, 0)], 0), ([(inf, 1), (inf, -1)], 0), ([(inf, 1)], -inf), ([(np.nan, 1)], 0), ([], np.nan)]:
        assert bits_of(one_sum(instructions, kind, pairs, c)) == 0x7FFFFFFF


def test_mma_f64_multiplies_matrices_in_the_documented_fragments(instructions, order):
    generator = np.random.default_rng(0)
    # Small integers, so that no sum is rounded.
    a, b, c = (generator.integers(-9, 9, size=shape).astype(np.float64) for shape in [(8, 4), (4, 8), (8, 8)])
    row, column = accumulator_map(2)
    d = np.ascontiguousarray(c[row, column])
    instructions.mma_f64(address(a[GROUP, MEMBER]), address(b[MEMBER, GROUP]), address(d))
    np.testing.assert_array_equal(d, (c + a @ b)[row, column])


def test_mma_and_popc_multiplies_bits_in_the_documented_fragments(instructions, order):
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 2, size=(16, 256)), generator.integers(0, 2, size=(256, 8))
    c = generator.integers(0, 100, size=(16, 8)).astype(np.int32)
    # A: row = group for i < 32 and 64 <= i < 96, else group + 8; column = 32 member + (i & 31), 128 more for i >= 64.
    i = np.arange(128)
    row = GROUP[:, None] + np.where((i < 32) | ((i >= 64) & (i < 96)), 0, 8)
    left = a[row, 32 * MEMBER[:, None] + (i & 31) + np.where(i < 64, 0, 128)]
    # B: row = 32 member + (i & 31), 128 more for i >= 32; column = group.
    i = np.arange(64)
    right = b[32 * MEMBER[:, None] + (i & 31) + np.where(i < 32, 0, 128), GROUP[:, None]]
    row, column = accumulator_map(4)
    d = np.ascontiguousarray(c[row, column])
    packed = [np.packbits(bits.astype(bool), axis=1, bitorder="little") for bits in (left, right)]
    instructions.mma_and_popc(address(packed[0]), address(packed[1]), address(d))
    np.testing.assert_array_equal(d, (c + a @ b)[row, column])


def test_matrix_loads_take_rows_from_the_lanes_addresses(instructions, order):
    generator = np.random.default_rng(0)
    words = generator.integers(0, 1 << 32, size=(32, 4), dtype=np.uint32)
    rows = generator.permutation(32).astype(np.int32)
    out = np.zeros((32, 4), dtype=np.uint32)
    instructions.load_matrix_x4(address(words), address(rows), address(out))
    expected = [[words[rows[8 * j + lane // 4], lane % 4] for j in range(4)] for lane in range(32)]
    np.testing.assert_array_equal(out, expected)


def test_transposed_matrix_loads_give_columns_of_the_rows(instructions, order):
    generator = np.random.default_rng(0)
    halves = generator.integers(0, 1 << 16, size=(32, 8), dtype=np.uint16)
    rows = generator.permutation(32).astype(np.int32)
    out = np.zeros((32, 4), dtype=np.uint32)
    instructions.load_matrix_x4_transposed(address(halves), address(rows), address(out))
    # PTX ISA, "ldmatrix": without .trans lane l holds elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4.
    transposed = halves[rows].reshape(4, 8, 8).swapaxes(1, 2)
    expected = np.stack([transposed[:, GROUP, 2 * MEMBER], transposed[:, GROUP, 2 * MEMBER + 1]], axis=-1)
    np.testing.assert_array_equal(out.view(np.uint16).reshape(32, 4, 2), expected.swapaxes(0, 1))


def test_strided_addresses_count_bytes_and_may_go_back(instructions):
    values, rows = np.random.default_rng(0).standard_normal(50), LANES.astype(np.int32)
    out = np.zeros(32)
    instructions.read_strided(address(values), 50, address(rows), address(out))
    np.testing.assert_array_equal(out, values[rows])


@pytest.mark.parametrize("width", [4, 16, 32])
def test_shuffles_stay_in_their_segment(instructions, order, width):
    generator = np.random.default_rng(width)
    values = generator.standard_normal(32)
    segment = LANES // width * width
    steps = generator.integers(0, width, size=32).astype(np.int32)
    shared_step = np.full(32, width // 2 + 1, dtype=np.int32)
    down, up = LANES + shared_step, LANES - shared_step
    sources = {
        0: (steps, segment + steps),
        1: (np.full(32, width - 1, dtype=np.int32), LANES ^ (width - 1)),
        2: (shared_step, np.where(down < segment + width, down, LANES)),
        3: (shared_step, np.where(up >= segment, up, LANES)),
    }
    for kind, (arguments, source) in sources.items():
        out = np.zeros(32)
        instructions.shuffle_lanes(kind, address(values), address(arguments), width, address(out))
        np.testing.assert_array_equal(out, values[source])


@pytest.mark.parametrize("predicates", ["random", "none", "all"])
def test_votes_count_the_lanes_of_their_mask(instructions, order, predicates):
    threads = 96
    random = np.random.default_rng(0).integers(0, 2, size=threads)
    chosen = {"random": random, "none": np.zeros(threads), "all": np.ones(threads)}[predicates].astype(np.int32)
    out = np.zeros((threads, 6), dtype=np.uint32)
    instructions.count_votes(threads, address(chosen), address(out))
    for thread in range(threads):
        fellows = chosen[thread // 32 * 32 :][:32][thread % 2 :: 2].astype(bool)
        lanes = range(thread % 2, 32, 2)
        ballot = sum(1 << lane for lane, on in zip(lanes, fellows, strict=True) if on)
        block = [chosen.sum(), chosen.any(), chosen.all()]
        np.testing.assert_array_equal(out[thread], [ballot, fellows.any(), fellows.all(), *block])


def test_every_thread_of_the_grid_runs_once(instructions, order):
    x, y, z, threads = 3, 4, 2, 40
    out = np.zeros((x * y * z, threads), dtype=np.uint32)
    visits = np.zeros_like(out)
    instructions.write_indices(x, y, z, threads, address(out), address(visits))
    np.testing.assert_array_equal(out, 1000 * np.arange(x * y * z)[:, None] + np.arange(threads))
    assert (visits == 1).all()


def test_conversions_round_as_the_hardware_does(instructions):
    generator = np.random.default_rng(0)
    ties = np.array([1 + 2.0**-11, -1 - 2.0**-11, 1 + 2.0**-8, 1 + 3 * 2.0**-8, np.inf, -np.inf, 3.4028235e38, 0.0])
    x = np.concatenate([ties, [0, 0], np.exp(generator.uniform(-60, 60, size=500))]).astype(np.float32)
    x.view(np.uint32)[8:10] = [0x7FFFFFFF, 0xFFFFFFFF]  # rounding up such a NaN would carry into the sign
    tf32, bfloat16 = np.zeros(x.size, dtype=np.uint32), np.zeros(x.size, dtype=np.uint32)
    root = np.zeros(x.size, dtype=np.float32)
    instructions.round_floats(x.size, address(x), address(tf32), address(bfloat16), address(root))
    tf32 &= np.uint32(0xFFFFE000)  # what a tensor core looks at
    finite = np.isfinite(x) & (np.abs(x) < 1e38)
    spacing = np.exp2(np.floor(np.log2(np.abs(x[finite & (x != 0)]).astype(np.float64))) - 10)
    exact = x[finite & (x != 0)].astype(np.float64) / spacing
    away = np.copysign(np.floor(np.abs(exact) + 0.5), exact) * spacing
    np.testing.assert_array_equal(tf32.view(np.float32)[finite & (x != 0)], away)
    np.testing.assert_array_equal(tf32.view(np.float32)[4:8], [np.inf, -np.inf, np.inf, 0.0])
    assert np.isnan(tf32.view(np.float32)[8:10]).all()
    expected = torch.from_numpy(x).bfloat16().view(torch.uint16).numpy()
    numbers = ~np.isnan(x)
    np.testing.assert_array_equal(bfloat16[numbers], expected[numbers])
    positive = finite & (x > 0)
    np.testing.assert_allclose(root[positive], np.sqrt(x[positive].astype(np.float64)), rtol=2.0**-22)


# What the emulator says of each planted bug, whatever the order of lanes. "wrong": the kernel's result shows it.
SEEN_BY_EMULATOR = {
    "barrier": "race: thread",
    "hidden_barrier": "wrong",
    "second_use": "race: thread",
    "warp_barrier": "race: thread",
    "same_word": "race: thread",
    "early_return": "threads wait for ever:   0-39 waits in __syncthreads (planted_bugs.cu:",
    "two_barriers": "divergent barrier, threads wait at different places:   0-31 waits in",
    "deadlock": "threads wait for ever:   0-15 waits in __syncwarp",
    "shuffle_caller": "with mask 0x0000ffff, which does not hold the calling lane",
    "shuffle_absent": "16-31 returned",
    "shuffle_source": "which is not in the mask of the shuffle",
    "other_function": "lanes of one mask meet in different functions",
    "bounds": "out of bounds: 4 bytes from element 64 of a span of 64 elements",
    "vector_bounds": "out of bounds: 16 bytes from element 64",
    "vector_alignment": "misaligned: element",
    "arena_size": "takes 260 bytes of shared memory, but was launched with 256",
    "second_arena": "a thread makes a second arena",
    "redzone": "something was written to shared memory outside of all spans",
    "wait": "wrong",
    "wait_at_all": "a committed copy was never waited for",
    "commit": "a copy was started but never committed",
    "group_count": "wrong",
    "copied_by_others": "race: thread",
    "copy_alignment": "misaligned: element 2",
    "source_alignment": "misaligned: the source of a copy of 8 bytes",
}
SEEN_BY_ADDRESS_SANITIZER = {
    "stack_bounds": "out of bounds",
    "global_bounds": "heap-buffer-overflow",
    "copy_bounds": "heap-buffer-overflow",
    "redzone": "use-after-poison",
}
SEEN_BY_THREAD_SANITIZER = ["barrier", "hidden_barrier", "second_use", "copied_by_others", "global_race"]
ALL = sorted({*SEEN_BY_EMULATOR, *SEEN_BY_ADDRESS_SANITIZER, *SEEN_BY_THREAD_SANITIZER})


def run_planted(program, runner, order, version, names):
    """Runs planted bugs: exit status, what was said of each, and what a sanitizer said."""
    command = [program, runner, order, version, *names]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = dict(line.split(" ", 1) for line in result.stdout.splitlines())
    return result.returncode, said, result.stderr


@pytest.mark.parametrize("runner", ["fibers", "threads"])
@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_sound_kernels_pass(runner, order):
    program = built(emulation_build.planted_bugs)
    status, said, _ = run_planted(program, runner, order, "sound", ALL)
    assert status == 0
    assert said == dict.fromkeys(ALL, "right")


@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_the_emulator_catches_planted_bugs(order):
    program = built(emulation_build.planted_bugs)
    status, said, _ = run_planted(program, "fibers", order, "broken", SEEN_BY_EMULATOR)
    assert status == 0
    missed = {name: said.get(name) for name, words in SEEN_BY_EMULATOR.items() if words not in said.get(name, "")}
    assert not missed
    faults = [text for name, text in said.items() if SEEN_BY_EMULATOR[name] != "wrong"]
    assert all(text.startswith("planted, block (0, 0, 0)") for text in faults)


def test_real_threads_do_not_hang_where_lanes_never_meet():
    program = built(emulation_build.planted_bugs)
    names = ["early_return", "deadlock", "shuffle_caller", "shuffle_absent", "shuffle_source", "other_function"]
    _, said, _ = run_planted(program, "threads", "forward", "broken", names)
    assert {name: SEEN_BY_EMULATOR[name] in said[name] for name in names} == dict.fromkeys(names, True)


@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_address_sanitizer_passes_sound_kernels(order):
    program = built(emulation_build.planted_bugs, "address")
    status, said, errors = run_planted(program, "fibers", order, "sound", ALL)
    assert (status, errors) == (0, "")
    assert said == dict.fromkeys(ALL, "right")


@pytest.mark.parametrize("name", SEEN_BY_ADDRESS_SANITIZER)
def test_address_sanitizer_sees_what_lies_outside(name):
    program = built(emulation_build.planted_bugs, "address")
    status, said, errors = run_planted(program, "fibers", "forward", "broken", [name])
    assert status != 0
    assert said == {}
    assert SEEN_BY_ADDRESS_SANITIZER[name] in errors


def test_thread_sanitizer_passes_sound_kernels():
    program = built(emulation_build.planted_bugs, "thread")
    status, said, errors = run_planted(program, "threads", "forward", "sound", ALL)
    assert (status, errors) == (0, "")
    assert said == dict.fromkeys(ALL, "right")


@pytest.mark.parametrize("name", SEEN_BY_THREAD_SANITIZER)
def test_thread_sanitizer_sees_races(name):
    program = built(emulation_build.planted_bugs, "thread")
    status, _, errors = run_planted(program, "threads", "forward", "broken", [name])
    assert status != 0
    assert "WARNING: ThreadSanitizer: data race" in errors
    assert f"{name}<false>" in errors
