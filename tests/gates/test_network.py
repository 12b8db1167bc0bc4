"""Gates by their definition in float64, and the weights that draw them."""

import copy
import ctypes
import hashlib
import io
import math
import multiprocessing
import os
import pickle
import re
import struct

import numpy as np
import pytest
import torch
from cases.tables import same

from gatentk import nn, ops, reference
from gatentk.errors import GateTableError
from gatentk.gates import GateNetwork, GateTable, network


def numpy_gates(net, x):
    """Pre-activations in float64, and how far rounding can move those of the network: per layer."""
    unit = torch.finfo(net.input_weight.dtype).eps
    x = np.asarray(x, np.float64)
    if net.center is not None:
        x = x - net.center.numpy().astype(np.float64)
    z, first_error = x, np.zeros(x.shape) if net.center is None else unit * np.abs(x)
    error = first_error
    for weight in [net.input_weight, *net.weights]:
        if net.kind == "shallow":
            z, error = x, first_error
        weight = weight.numpy().astype(np.float64)
        pre = z @ weight.T
        # Chains of k additions in this precision and in float64, on top of what the factors are off.
        error = error @ np.abs(weight).T + (z.shape[1] + 2) * unit * (np.abs(z) + error) @ np.abs(weight).T
        yield pre, error
        z, error = np.maximum(pre, 0), np.where(pre <= -error, 0, error)  # what is off for certain is exactly 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_gates_are_those_of_the_definition(dtype, depth, generator):
    net = GateNetwork(7, 130, depth, generator, dtype)
    x = torch.randn(25, 7, generator=generator, dtype=dtype)
    table = net.table(x)
    assert (table.layers, table.n, table.width, table.fingerprint) == (depth + 1, 25, 130, net.fingerprint)
    assert table.bits.data_ptr() % 64 == 0
    for mask, (pre, error) in zip(table.to_bool().numpy(), numpy_gates(net, x), strict=True):
        certain = np.abs(pre) > error
        assert certain.mean() > 0.95
        np.testing.assert_array_equal(mask[certain], pre[certain] > 0)


def test_exactly_zero_is_off():
    weight = torch.tensor([[1.0, -1.0], [1e-45, 0.0], [0.0, 0.0], [-1.0, 0.5], [0.0, -0.0], [2.0, 3.0]])
    net = GateNetwork(2, 6, 1, input_weight=weight)
    table = net.table(torch.tensor([[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]))
    on = [[False, True, False, False, False, True], [False] * 6, [False, False, False, True, False, False]]
    assert table.to_bool()[0].tolist() == on
    assert not table.to_bool()[1, 1].any()


def test_about_half_of_the_gates_of_gaussian_data_are_on(generator):
    net = GateNetwork(40, 512, 3, generator)
    mask = net.table(torch.randn(200, 40, generator=generator)).to_bool().double()
    # Given the layer below, the neurons are independent and on with probability 1/2, by symmetry of their weights.
    assert (mask.mean((1, 2)) - 0.5).abs().max() < 5 * 0.5 / math.sqrt(512)
    # Neither a sample nor a neuron is dead.
    assert 0 < mask.mean(2).min() < mask.mean(2).max() < 1
    assert 0 < mask[0].mean(0).min() < mask[0].mean(0).max() < 1


def test_distance_of_patterns_is_the_angle_of_the_samples(generator):
    net = GateNetwork(3, 4096, 0, generator)
    x = torch.tensor([[1.0, 0.0, 0.0]])
    for degrees in (1, 30, 90, 170):
        theta = math.radians(degrees)
        z = torch.tensor([[math.cos(theta), math.sin(theta), 0.0]])
        distance, share = float(net.table(x).hamming(net.table(z))), theta / math.pi
        assert abs(distance - share) < 5 * math.sqrt(share * (1 - share) / 4096)
    assert net.table(x).hamming(net.table(-x)).tolist() == [1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_files_and_threads_change_no_bit(path, dtype, generator):
    net = GateNetwork(9, 150, 2, generator, dtype)
    x = torch.randn(31, 9, generator=generator, dtype=dtype)
    expected = torch.stack([net.gates(row[None])[:, 0] for row in x], 1)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for batch_size in (1, 3, 31, 1000, None):
                assert torch.equal(net.table(x, batch_size=batch_size).bits, expected)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(net.gates(x), expected)
    assert torch.equal(net.table(x.T.contiguous().T.numpy()).bits, expected)
    mapped = net.table(x, path, batch_size=4)
    assert same(mapped, net.table(x))
    assert mapped.bits.data_ptr() % 64 == 0
    assert same(GateTable.load(path), mapped)
    assert len(pickle.dumps(mapped)) < 10_000
    mapped.save(path.with_name("again"))
    assert path.with_name("again").read_bytes() == path.read_bytes()


def test_gates_are_the_same_on_every_instruction_set(isa):
    generator = torch.Generator().manual_seed(3)
    net = GateNetwork(20, 140, 2, generator)
    x = torch.randn(9, 20, generator=generator)
    z, expected = x, []
    for weight in [net.input_weight, *net.weights]:
        z = reference.ordered_linear(z, weight, relu=True)
        expected.append(z > 0)
    assert torch.equal(net.table(x).to_bool(), torch.stack(expected))


@pytest.mark.parametrize("to_file", [False, True])
def test_no_samples(path, to_file):
    net = GateNetwork(4, 5, 2)
    table = net.table(torch.zeros(0, 4), path if to_file else None)
    assert table.bits.shape == (3, 0, 16)
    assert table.fingerprint == net.fingerprint


def test_batches_hold_the_memory_budget(monkeypatch, generator):
    rows = []

    def counted(x, weight, relu=False):
        rows.append(x.shape[0])
        return reference.ordered_linear(x, weight, relu)

    net, x = GateNetwork(10, 100, 1, generator), torch.randn(1000, 10, generator=generator)
    expected = net.table(x)
    monkeypatch.setattr(ops, "ordered_linear", counted)
    monkeypatch.setattr(network, "_ACTIVATION_BYTES", 50_000)
    assert same(net.table(x), expected)
    assert sum(rows) == 2 * 1000
    # Two layers of float32 activations and the mask at a time.
    assert 20 < max(rows) <= 50_000 // (4 * 2 * 100 + 100)


def test_read_only_and_mapped_samples(tmp_path, generator):
    net = GateNetwork(6, 20, 1, generator)
    x = torch.randn(12, 6, generator=generator)
    np.save(tmp_path / "x.npy", x.numpy())
    assert same(net.table(np.load(tmp_path / "x.npy", mmap_mode="r"), batch_size=5), net.table(x))


def test_samples_are_converted_to_the_dtype_of_the_weights(generator):
    net = GateNetwork(6, 200, 2, generator)
    x = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    assert same(net.table(x), net.table(x.float()))
    assert torch.equal(net.gates(x), net.gates(x.float()))


def with_value(value, row=5, column=2, n=8, dtype=torch.float32):
    x = torch.ones(n, 3, dtype=dtype)
    x[row, column] = value
    return x


@pytest.mark.parametrize(
    ("error", "message", "x"),
    [
        (ValueError, r"x: expected finite values, got nan at index \(5, 2\)", with_value(math.nan)),
        (ValueError, r"x: expected finite values, got -inf at index \(5, 2\)", with_value(-math.inf).numpy()),
        (ValueError, r"x: values exceed torch.float32 at row 5", with_value(1e300, dtype=torch.float64)),
        (ValueError, r"x: activations of layer 0 exceed torch.float32 at row 5", with_value(3e38)),
        (ValueError, r"x: expected shape \(n, 3\), got a tensor of shape \(8, 4\)", torch.ones(8, 4)),
        (ValueError, r"x: expected shape \(n, 3\), got a tensor of shape \(3,\)", torch.ones(3)),
        (ValueError, r"x: expected shape \(n, 3\), got a tensor of shape \(2, 4, 3\)", torch.ones(2, 4, 3)),
        (
            ValueError,
            "x: expected numbers, got .* on meta, which has none",
            torch.ones(8, 3, device="meta"),
        ),
        (TypeError, "x: expected float32 or float64, got a tensor of shape .*int64", torch.ones(8, 3).long()),
        (TypeError, "x: expected float32 or float64, got a tensor of shape .*int64", torch.ones(0, 3).long()),
        (TypeError, r"x: expected .*, got an array of shape \(8, 3\), float16", np.ones((8, 3), np.float16)),
        (TypeError, "x: expected a torch tensor or numpy array, got str", "x"),
    ],
)
def test_samples_that_do_not_fit(path, monkeypatch, error, message, x):
    monkeypatch.setattr(network, "_ACTIVATION_BYTES", 60)  # two rows at a time: the index is that in all of x
    net = GateNetwork(3, 4, 1, input_weight=torch.ones(4, 3) * 10)
    for file in (None, path):
        with pytest.raises(error, match=message):
            net.table(x, file)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize(
    ("error", "message", "batch_size"),
    [(ValueError, "batch_size: expected an integer of at least 1, got 0", 0), (TypeError, "batch_size", 2.0)],
)
def test_batch_sizes_that_are_none(error, message, batch_size):
    with pytest.raises(error, match=message):
        GateNetwork(3, 4, 1).table(torch.ones(2, 3), batch_size=batch_size)


def test_a_file_that_cannot_be_written_is_noticed_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(ops, "ordered_linear", lambda *arguments, **options: pytest.fail("gates were computed"))
    for path, error in ((tmp_path, IsADirectoryError), (tmp_path / "missing" / "gates", FileNotFoundError)):
        with pytest.raises(error, match=re.escape(str(tmp_path))):
            GateNetwork(3, 4, 1).table(torch.ones(2, 3), path)


def test_an_interrupt_leaves_no_file(path, monkeypatch):
    net, calls = GateNetwork(3, 4, 1), []

    def interrupted(x, weight, relu=False):
        calls.append(x)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return reference.ordered_linear(x, weight, relu)

    monkeypatch.setattr(ops, "ordered_linear", interrupted)
    path.write_bytes(b"what was there")
    with pytest.raises(KeyboardInterrupt):
        net.table(torch.ones(8, 3), path, batch_size=2)
    assert len(calls) == 5
    assert path.read_bytes() == b"what was there"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(("progress", "terminal"), [(True, True), (True, False), (False, True)])
def test_a_progress_bar_is_for_terminals(monkeypatch, capsys, progress, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    else:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    net = GateNetwork(3, 4, 1)
    assert same(net.table(torch.ones(8, 3), batch_size=2, progress=progress), net.table(torch.ones(8, 3)))
    out = capsys.readouterr().out
    if progress and terminal:
        assert "gates" in out
        assert "100%" in out
    else:
        assert out == ""


# Weights of gate networks


def test_weights_are_gaussian_and_drawn_in_order():
    net = GateNetwork(50, 400, 2, torch.Generator().manual_seed(5))
    assert [tuple(w.shape) for w in (net.input_weight, *net.weights)] == [(400, 50), (400, 400), (400, 400)]
    assert [name for name, _ in net.named_buffers()] == ["input_weight", "psi_1", "psi_2"]
    assert list(net.parameters()) == []
    assert net.weights[1] is net.psi_2
    for weight, fan_in in ((net.input_weight, 50), (net.psi_1, 400), (net.psi_2, 400)):
        count = weight.numel()
        assert abs(float(weight.mean())) < 5 * math.sqrt(2 / fan_in / count)
        assert abs(float(weight.var()) * fan_in / 2 - 1) < 5 * math.sqrt(2 / count)
    same_draws = torch.Generator().manual_seed(5)
    for weight, fan_in in ((net.input_weight, 50), (net.psi_1, 400), (net.psi_2, 400)):
        assert torch.equal(weight, torch.randn(weight.shape, generator=same_draws) * math.sqrt(2 / fan_in))


def test_an_input_weight_that_is_given_is_not_drawn():
    given_weight = torch.randn(20, 6, dtype=torch.float64)
    net = GateNetwork(6, 20, 1, torch.Generator().manual_seed(5), input_weight=given_weight)
    assert torch.equal(net.input_weight, given_weight)
    assert net.input_weight.data_ptr() != given_weight.data_ptr()
    first = torch.randn(20, 20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    assert torch.equal(net.psi_1, first * math.sqrt(2 / 20))


def test_dtype_is_that_asked_for_or_the_default_one():
    assert GateNetwork(3, 4, 1).psi_1.dtype == torch.float32
    assert GateNetwork(3, 4, 1, dtype=torch.float64).psi_1.dtype == torch.float64
    assert GateNetwork(3, 4, 1, input_weight=torch.ones(4, 3).double()).psi_1.dtype == torch.float64


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "d_in: expected an integer of at least 1, got 0", (0, 4, 1), {}),
        (ValueError, "width: expected an integer of at least 1, got 0", (3, 0, 1), {}),
        (ValueError, "depth: expected an integer of at least 0, got -1", (3, 4, -1), {}),
        (TypeError, "depth: expected an integer, got float 1.0", (3, 4, 1.0), {}),
        (
            TypeError,
            "dtype: expected torch.float32 or torch.float64 .*, got torch.float16",
            (3, 4, 1, None, torch.half),
            {},
        ),
        (TypeError, "input_weight: expected a float32 or float64 tensor", (3, 4, 1), {"input_weight": [1.0]}),
        (TypeError, "input_weight: expected a float32 or float64", (3, 4, 1), {"input_weight": torch.ones(4, 3).int()}),
        (
            TypeError,
            "input_weight: expected a torch.float64 tensor",
            (3, 4, 1, None, torch.float64),
            {"input_weight": torch.ones(4, 3)},
        ),
        (ValueError, r"input_weight: expected shape \(4, 3\)", (3, 4, 1), {"input_weight": torch.ones(3, 4)}),
        (ValueError, "input_weight: expected finite", (3, 4, 1), {"input_weight": torch.full((4, 3), math.nan)}),
    ],
)
def test_bad_networks_are_refused(error, message, arguments, options):
    with pytest.raises(error, match=message):
        GateNetwork(*arguments, **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.double(),
        lambda net: net.half(),
        lambda net: net.to(torch.float64),
        lambda net: net.to("cpu", torch.bfloat16),
        lambda net: torch.nn.ModuleList([net]).double()[0],
        lambda net: net.type(torch.float64),
        lambda net: net.requires_grad_(False).eval(),
    ],
)
def test_a_dtype_changes_no_gate(change, generator):
    net, x = GateNetwork(5, 30, 2, generator), torch.randn(6, 5, generator=generator)
    table = net.table(x)
    changed = change(net)
    assert {weight.dtype for weight in changed.buffers()} == {torch.float32}
    assert changed.fingerprint == table.fingerprint
    assert same(changed.table(x), table)


def test_a_device_moves_the_weights_as_they_are(generator):
    net = GateNetwork(5, 30, 1, generator).to("meta", torch.float64)
    assert {(weight.device.type, weight.dtype) for weight in net.buffers()} == {("meta", torch.float32)}


def clone_by_state(net):
    other = GateNetwork(net.d_in, net.width, net.depth)
    other.load_state_dict(net.state_dict())
    return other


def stored(net):
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    buffer.seek(0)
    other = GateNetwork(net.d_in, net.width, net.depth)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    return other


@pytest.mark.parametrize("make", [clone_by_state, stored, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_have_the_same_gates(make, generator):
    net, x = GateNetwork(5, 30, 2, generator), torch.randn(6, 5, generator=generator)
    table = net.table(x)
    twin = make(net)
    assert twin.fingerprint == table.fingerprint
    assert same(twin.table(x), table)
    assert table.fingerprint.encode() not in pickle.dumps(net)
    twin.psi_1.neg_()
    assert twin.fingerprint != net.fingerprint == table.fingerprint


def test_the_fingerprint_is_of_sizes_dtype_and_weights():
    net = GateNetwork(5, 30, 2, dtype=torch.float64)
    content = b"gatentk gate network 1\n" + struct.pack("<QQQ", 5, 30, 2) + b"float64\n"
    for weight in (net.input_weight, net.psi_1, net.psi_2):
        content += weight.numpy().astype("<f8").tobytes()
    assert net.fingerprint == hashlib.sha256(content).hexdigest()


def swap(net):
    net.psi_1, net.psi_2 = net.psi_2, net.psi_1


def one_bit(net):
    net.psi_2.view(torch.int32)[3, 4] ^= 1


def new_data(net):
    net.psi_1.data = net.psi_1.data + 1


def by_numpy(net):
    net.psi_1.numpy()[2, 3] += 1e-6


def by_address(net):
    ctypes.memset(net.psi_2.data_ptr() + 5, 77, 1)


# Newer versions of Python warn of threads, which this child does not use.
FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def in_another_process(net):
    net.psi_1.share_memory_()
    net.fingerprint  # noqa: B018 (of the shared memory)
    process = multiprocessing.get_context("fork").Process(target=by_numpy, args=(net,))
    process.start()
    process.join()


def of_old_style(net):
    torch.nn.init.normal_(net.psi_2.data)


def in_inference_mode(net):
    with torch.inference_mode():
        net.psi_1.data.mul_(-1)


# Changes that the counters of torch do not see.
HIDDEN = [
    lambda net: net.psi_1.data.normal_(),
    lambda net: net.input_weight.data[0].neg_(),
    lambda net: net.psi_2.detach().data.t()[3].zero_(),
    lambda net: net.psi_1.data.view(-1)[:2].copy_(net.psi_1.data.view(-1)[:2].flip(0)),
    lambda net: net.psi_1.set_(net.psi_1.clone().mul_(2)),
    lambda net: net.psi_1.untyped_storage().copy_(net.psi_2.untyped_storage()),
    lambda net: [net.psi_1.data.copy_(w) for w in [net.psi_1.roll(1, 0)]],
    by_numpy,
    by_address,
    in_another_process,
    of_old_style,
    in_inference_mode,
]


@FORKS
@pytest.mark.parametrize(
    "change",
    [
        *HIDDEN,
        swap,
        one_bit,
        new_data,
        lambda net: net.input_weight.mul_(2),
        lambda net: setattr(net, "psi_1", net.psi_1.clone().flip(0)),
        lambda net: net.load_state_dict(GateNetwork(5, 30, 2).state_dict()),
        lambda net: net.load_state_dict(GateNetwork(5, 30, 2).state_dict(), assign=True),
    ],
)
def test_a_changed_weight_changes_the_fingerprint(change, generator):
    net = GateNetwork(5, 30, 2, generator)
    before = net.fingerprint
    change(net)
    assert net.fingerprint != before


def test_the_fingerprint_is_computed_once(monkeypatch, generator):
    net, calls, compute = GateNetwork(5, 30, 2, generator), [], GateNetwork._digest

    def counted(*arguments):
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(GateNetwork, "_digest", counted)
    first = net.fingerprint
    net.table(torch.ones(3, 5))
    assert net.fingerprint == first
    assert len(calls) == 1
    net.psi_1.data.neg_()
    assert net.fingerprint != first
    net.psi_1.data.neg_()
    assert net.fingerprint == first
    assert len(calls) == 3


@FORKS
@pytest.mark.parametrize("change", HIDDEN)
def test_a_table_of_before_a_change_is_refused(change, generator):
    net = nn.GReLUNetwork(5, 30, 2, generator=generator)
    x = torch.randn(6, 5, generator=generator)
    table, expected = net.gate_table(x), net(x)
    assert torch.equal(net(x, gates=table), expected)
    change(net.gate_net)
    for use in (net, net.intermediate, net.activations):
        with pytest.raises(GateTableError, match=r"^gates: expected a table of this network's gate network"):
            use(x, gates=table[:6])
    assert torch.equal(net(x, gates=net.gate_table(x)), net(x))


def test_weights_of_inference_mode():
    with torch.inference_mode():
        net = GateNetwork(5, 30, 1)
        before = net.fingerprint
        net.psi_1.neg_()
        assert net.fingerprint != before


def test_repr_tells_the_sizes():
    assert "GateNetwork(d_in=3, width=4, depth=1)" in repr(GateNetwork(3, 4, 1))


def test_gates_compile_without_graph_breaks(generator):
    net, x = GateNetwork(5, 130, 2, generator), torch.randn(6, 5, generator=generator)
    compiled = torch.compile(net.gates, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), net.gates(x))


# Blocks, kinds and centers

OTHER_KINDS = [
    {"block": 32},
    {"kind": "shallow"},
    {"center": torch.linspace(-1, 1, 7)},
    {"block": 130},
    {"block": 9, "kind": "shallow", "center": torch.full((7,), 0.5)},
]


def other_kind(options, depth=2, dtype=None, seed=0):
    return GateNetwork(7, 130, depth, torch.Generator().manual_seed(seed), dtype, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", OTHER_KINDS)
def test_gates_of_other_kinds_are_those_of_the_definition(options, dtype, generator):
    net, x = other_kind(options, dtype=dtype), torch.randn(25, 7, generator=generator, dtype=dtype)
    block = options.get("block", 1)
    units = -(-130 // block)
    table = net.table(x)
    assert (table.layers, table.n, table.width, table.block, table.units) == (3, 25, 130, block, units)
    assert table.fingerprint == net.fingerprint
    assert [len(weight) for weight in (net.input_weight, *net.weights)] == [units] * 3
    certain = 0
    for mask, (pre, error) in zip(table.to_bool().numpy(), numpy_gates(net, x), strict=True):
        sure = (np.abs(pre) > error) | (error == 0)  # of few units all may be off
        certain += sure.mean() / 3
        np.testing.assert_array_equal(mask[sure], pre[sure] > 0)
    assert certain > 0.95
    expected = reference.gate_network(x, [net.input_weight, *net.weights], net.kind, net.center)
    assert torch.equal(table.to_bool(), torch.stack(expected))


@pytest.mark.parametrize("options", OTHER_KINDS)
def test_every_path_of_other_kinds_has_the_same_bits(path, options, generator):
    net, x = other_kind(options), torch.randn(31, 7, generator=generator)
    expected = torch.stack([net.gates(row[None])[:, 0] for row in x], 1)
    assert torch.equal(net.gates(x), expected)
    for batch_size in (1, 3, None):
        assert torch.equal(net.table(x, batch_size=batch_size).bits, expected)
    mapped = net.table(x.numpy(), path, batch_size=4)
    assert same(mapped, net.table(x))
    assert same(GateTable.load(path), mapped)
    compiled = torch.compile(net.gates, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), expected)


def test_weights_of_other_kinds_are_gaussian_and_drawn_in_order():
    for kind, columns in (("deep", 100), ("shallow", 50)):
        net = GateNetwork(50, 397, 2, torch.Generator().manual_seed(5), block=4, kind=kind, center=torch.zeros(50))
        same_draws = torch.Generator().manual_seed(5)
        for weight, fan_in in ((net.input_weight, 50), (net.psi_1, columns), (net.psi_2, columns)):
            assert torch.equal(weight, torch.randn(100, fan_in, generator=same_draws) * math.sqrt(2 / fan_in))
        assert [name for name, _ in net.named_buffers()] == ["input_weight", "psi_1", "psi_2", "center"]
        assert net.units == 100


def test_only_the_gates_of_the_paper_share_their_input_weight():
    assert GateNetwork(7, 130, 2).shares_input_weight
    assert not any(other_kind(options).shares_input_weight for options in OTHER_KINDS)


def test_a_center_is_copied_and_rounded_to_the_weights_dtype(generator):
    center = torch.full((7,), 1 / 3, dtype=torch.float64)
    net = other_kind({"center": center})
    assert net.center.dtype == torch.float32
    assert torch.equal(net.center, center.float())
    center.zero_()
    assert net.center.all()
    assert torch.equal(other_kind({"center": np.full(7, 1 / 3)}).center, net.center)
    net.double()
    assert net.center.dtype == torch.float32
    assert net.to("meta").center.is_meta
    meta = GateNetwork(7, 130, 2, center=np.ones(7), device="meta")
    assert {tensor.device.type for tensor in meta.buffers()} == {"meta"}
    x = torch.randn(5, 7, generator=generator)
    net = other_kind({"center": x[2]})
    assert net.table(x).to_bool()[:, 2].any().item() is False


def test_the_fingerprint_is_of_block_kind_and_center_too():
    nets = [other_kind(options) for options in ({}, *OTHER_KINDS, {"center": torch.zeros(7)}, {"block": 33})]
    nets += [other_kind({}, depth=0), other_kind({"kind": "shallow"}, depth=0)]
    assert len({net.fingerprint for net in nets}) == len(nets)
    net = other_kind(OTHER_KINDS[-1], dtype=torch.float64)
    content = b"gatentk gate network 2\n" + struct.pack("<QQQQ", 7, 130, 2, 9) + b"shallow\ncentred\nfloat64\n"
    for tensor in (net.input_weight, net.psi_1, net.psi_2, net.center):
        content += tensor.numpy().tobytes()
    assert net.fingerprint == hashlib.sha256(content).hexdigest()
    before = net.fingerprint
    net.center.data[3] += 1e-9
    assert net.fingerprint != before


@pytest.mark.parametrize("options", OTHER_KINDS)
@pytest.mark.parametrize("make", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_of_other_kinds_have_the_same_gates(make, options, generator):
    net, x = other_kind(options), torch.randn(6, 7, generator=generator)
    twin = make(net)
    assert same(twin.table(x), net.table(x))
    again = other_kind(options, seed=1)
    again.load_state_dict(net.state_dict())
    assert again.fingerprint == net.fingerprint


def test_networks_that_were_pickled_before_there_were_blocks(generator):
    net, x = GateNetwork(5, 30, 2, generator), torch.randn(6, 5, generator=generator)
    old = GateNetwork.__new__(GateNetwork)
    state = copy.deepcopy(net.__getstate__())
    del state["block"], state["kind"], state["_buffers"]["center"]
    old.__setstate__(state)
    assert same(old.table(x), net.table(x))
    assert repr(old) == repr(net)


def test_samples_that_are_no_numbers_show_on_the_fly():
    x = torch.full((1, 7), math.nan)
    assert GateTable(other_kind({"block": 32}).gates(x), 130, block=32).density() == 1.0
    with pytest.raises(ValueError, match="x: expected finite values, got nan"):
        other_kind({"block": 32}).table(x)


def test_samples_that_overflow_on_the_way_to_the_center():
    net = other_kind({"center": torch.full((7,), -3e38)})
    with pytest.raises(ValueError, match=r"x: values exceed torch.float32 at row 1; scale x down"):
        net.table(torch.tensor([[0.0] * 7, [3e38] * 7]))


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "block: expected an integer of at least 1, got 0", {"block": 0}),
        (ValueError, "block: expected an integer of at least 1, got -3", {"block": -3}),
        (ValueError, "block: expected at most width=130, got 131", {"block": 131}),
        (TypeError, "block: expected an integer, got float 2.0", {"block": 2.0}),
        (ValueError, "kind: expected one of 'deep', 'shallow', got 'wide'", {"kind": "wide"}),
        (ValueError, "kind: expected one of 'deep', 'shallow', got None", {"kind": None}),
        (ValueError, r"center: expected shape \(7,\), got a tensor of shape \(6,\)", {"center": torch.ones(6)}),
        (ValueError, r"center: expected shape \(7,\)", {"center": torch.ones(1, 7)}),
        (ValueError, r"center: expected shape \(7,\)", {"center": torch.tensor(1.0)}),
        (ValueError, "center: expected finite values, got nan", {"center": torch.full((7,), math.nan)}),
        (ValueError, "center: expected finite values, got inf", {"center": torch.full((7,), math.inf)}),
        (ValueError, "center: expected finite values, got inf", {"center": np.full(7, 1e300)}),
        (TypeError, "center: expected float32 or float64, got .*int64", {"center": torch.ones(7, dtype=torch.int64)}),
        (ValueError, "center: expected numbers, got .*meta", {"center": torch.ones(7, device="meta")}),
        (ValueError, r"input_weight: expected shape \(5, 7\)", {"block": 32, "input_weight": torch.ones(130, 7)}),
    ],
)
def test_bad_blocks_kinds_and_centers_are_refused(error, message, options):
    with pytest.raises(error, match=message):
        GateNetwork(7, 130, 2, **options)


def test_repr_tells_the_kind():
    net = other_kind({"block": 9, "kind": "shallow", "center": torch.zeros(7)})
    assert repr(net) == "GateNetwork(d_in=7, width=130, depth=2, block=9, kind='shallow', centred)"
