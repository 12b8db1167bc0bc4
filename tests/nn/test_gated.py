import copy
import pickle

import pytest
import torch
from cases.networks import build, plain, rows
from cases.tables import neurons
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from gatentk import GateTableError, ntk, ops, reference
from gatentk.gates import GateNetwork, GateTable
from gatentk.nn import GReLUNetwork


def test_a_given_gate_network_is_used_as_it_is():
    gates = GateNetwork(7, 70, 3, torch.Generator().manual_seed(1))
    net = GReLUNetwork(7, 70, 3, gates=gates, dtype=torch.float64)
    assert net.gate_net is gates
    assert net.input_weight.dtype == torch.float64
    assert torch.equal(net.input_weight, gates.input_weight.double())
    assert gates.input_weight.dtype == torch.float32
    with torch.no_grad():
        GReLUNetwork(7, 70, 3, gates=gates).input_weight.zero_()
    assert torch.equal(net.input_weight, gates.input_weight.double())


def test_gates_have_no_gradient_but_samples_have_one():
    net, x = build(GReLUNetwork, dtype=torch.float64), rows(5, dtype=torch.float64).requires_grad_()
    expected = torch.autograd.grad(plain(net, x)[0].sum(), x)
    torch.testing.assert_close(torch.autograd.grad(net(x).sum(), x), expected)
    torch.testing.assert_close(torch.autograd.grad(net(x, gates=net.gate_table(x)).sum(), x), expected)


def test_looking_gates_up_changes_no_bit():
    net, x = build(GReLUNetwork, width=200), rows(90)
    table, idx = net.gate_table(x), torch.randperm(90, generator=torch.Generator().manual_seed(0))[:70]
    assert torch.equal(net(x[idx]), net(x[idx], gates=table[idx]))
    assert all(torch.equal(a, b) for a, b in zip(net.intermediate(x), net.intermediate(x, table), strict=True))


def test_a_gate_table_may_be_a_file(tmp_path):
    net, x = build(GReLUNetwork), rows(30)
    table = net.gate_table(x, tmp_path / "gates")
    assert torch.equal(GateTable.load(tmp_path / "gates").bits, net.gate_table(x).bits)
    assert torch.equal(net(x[3:9], gates=table[3:9]), net(x[3:9]))


def test_conversion_leaves_gates_as_they_are():
    net, x = build(GReLUNetwork), rows(20)
    table, fingerprint = net.gate_table(x), net.gate_net.fingerprint
    net.double()
    assert net.gate_net.fingerprint == fingerprint
    assert torch.equal(net.gate_table(x.double()).bits, table.bits)
    assert torch.equal(net(x.double(), gates=table), net(x.double()))


class Indexed(Dataset):
    """Samples with their numbers, by which gates are looked up."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return i, self.x[i], self.y[i]


def test_a_loader_that_yields_indices_finds_the_gates_of_its_samples():
    net, x, y = build(GReLUNetwork), rows(50), rows(50, 2)
    table, seen = net.gate_table(x), []
    loader = DataLoader(Indexed(x, y), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(0))
    for idx, inputs, labels in loader:
        assert torch.equal(inputs, x[idx])
        assert torch.equal(labels, y[idx])
        assert torch.equal(net(inputs, gates=table[idx]), net(inputs))
        seen += idx.tolist()
    assert sorted(seen) == list(range(50))
    assert seen != sorted(seen)


def test_what_a_spawned_worker_gets_is_pickled():
    net, x = build(GReLUNetwork), rows(50)
    data, network, table = pickle.loads(pickle.dumps((Indexed(x, rows(50, 2)), net, net.gate_table(x))))
    idx, inputs, _ = next(iter(DataLoader(data, batch_size=16)))
    assert torch.equal(network(inputs, gates=table[idx]), net(x[:16]))


def test_tables_do_not_make_torch_compile_again():
    net, x = build(GReLUNetwork), rows(40)
    torch.compiler.reset()
    compiled, table = torch.compile(net, fullgraph=True, backend="eager"), net.gate_table(x)
    compiled(x[:10], gates=table[:10])
    with torch._dynamo.config.patch(error_on_recompile=True):
        used = table[10:20]
        net(x[10:20], gates=used)  # has its plans now
        for gates in (used, used, table[list(range(10, 20))]):
            torch.testing.assert_close(compiled(x[10:20], gates=gates), net(x[10:20]))


def test_gradient_descent_fits_any_labels():
    """[G], Thm 1, with the step 1/lambda_max of the kernel: width n^2 L, (n, d) = (20, 40), loss below 1e-6."""
    n, d, depth = 20, 40, 2
    x = torch.nn.functional.normalize(rows(n, d, dtype=torch.float64))
    y = rows(n, 1, seed=2, dtype=torch.float64)
    net = build(GReLUNetwork, d, n * n * depth, depth, 1, dtype=torch.float64)
    table = net.gate_table(x)
    step = 1 / float(torch.linalg.eigvalsh(ntk.empirical(net, x))[-1])
    optimizer = torch.optim.SGD(net.parameters(), step)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = 0.5 * (net(x, gates=table) - y).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1
    assert losses[-1] < 1e-6


NET, OTHER_NET, X = build(GReLUNetwork), build(GReLUNetwork, seed=5), rows(6)

TABLE = NET.gate_table(X)

GATES = GateNetwork(7, 70, 3)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "gates: expected one of 'random', got 'learned'", lambda: GReLUNetwork(7, 70, 3, gates="learned")),
        (ValueError, "gates: expected one of 'random', got GateTable", lambda: GReLUNetwork(7, 70, 3, gates=TABLE)),
        (ValueError, "gates: expected .* d_in=7, width=70, depth=2, got", lambda: GReLUNetwork(7, 70, 2, gates=GATES)),
        (ValueError, "gates: expected .* d_in=8, width=70, depth=3, got", lambda: GReLUNetwork(8, 70, 3, gates=GATES)),
        (ValueError, "gates: expected .* d_in=7, width=71, depth=3, got", lambda: GReLUNetwork(7, 71, 3, gates=GATES)),
    ],
)
def test_bad_gate_networks_are_refused(error, message, call):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("error", "message", "gates"),
    [
        (TypeError, "gates: expected a gatentk.gates.GateTable, got a tensor", TABLE.bits),
        (ValueError, "gates: expected .* 6 samples as in x .* 5 samples", TABLE[:5]),
        (ValueError, "gates: expected .* width 70, got .* width 69", GateTable.from_bool(TABLE.to_bool()[..., 1:])),
        (ValueError, "gates: expected 4 layers, .* got a table of 3 layers", GateTable.from_bool(TABLE.to_bool()[1:])),
        (GateTableError, "gates: expected a table of this network's gate network", OTHER_NET.gate_table(X)),
    ],
)
def test_gates_that_do_not_fit_are_refused(error, message, gates):
    for call in (NET, NET.intermediate):
        with pytest.raises(error, match=message):
            call(X, gates=gates)


def test_a_table_is_refused_once_the_gate_network_has_changed():
    net = build(GReLUNetwork)
    table = net.gate_table(X)
    net(X, gates=table)
    net.load_state_dict(OTHER_NET.state_dict())
    with pytest.raises(GateTableError, match="compute it again by gate_table"):
        net(X, gates=table)
    net(X, gates=OTHER_NET.gate_table(X))


def test_samples_that_are_not_finite_have_no_gates():
    with pytest.raises(ValueError, match="x: expected finite values, got nan"):
        NET.gate_table(torch.full((2, 7), torch.nan))


def test_patterns_of_a_gated_network_are_its_gates():
    table = NET.gate_table(X)
    assert NET.patterns(X, table) is table
    assert torch.equal(NET.patterns(X).bits, table.bits)
    for value, gate in zip(NET.activations(X, table), table.to_bool(), strict=True):
        assert not value[~gate].any()


def test_transforms_of_functions_take_tables():
    net, x = build(GReLUNetwork), rows(6)
    table = net.gate_table(x)
    expected = torch.autograd.grad(net(x.requires_grad_(), table).sum(), x)[0]
    torch.testing.assert_close(torch.func.grad(lambda x: net(x, table).sum())(x.detach()), expected)


# Tables and inference mode


def tables(net, x, path):
    """Tables of the same samples, come about in every way."""
    table = net.gate_table(x)
    mapped = net.gate_table(x, path)
    mask = table.to_bool()
    return {
        "computed": table,
        "mapped": mapped,
        "loaded": GateTable.load(path, mmap=False),
        "taken": mapped[torch.arange(len(x))],
        "sliced": table[:],
        "of bools": GateTable.from_bool(mask),
        "of bits": GateTable(ops.pack_bits(mask), net.width),
        "moved": table.to("cpu"),
        "copied": copy.deepcopy(table),
        "pickled": pickle.loads(pickle.dumps(table)),
        "reopened": pickle.loads(pickle.dumps(mapped)),
    }


def slopes(net, x, **options):
    return torch.autograd.grad(net(x, **options).square().sum(), list(net.weights))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_tables_made_and_used_without_gradients_serve_training(mode, tmp_path):
    net, x = build(GReLUNetwork), rows(30)
    expected, output = slopes(net, x), net(x)
    with mode():
        made = tables(net, x, tmp_path / "gates")
        for table in made.values():
            assert torch.equal(net(x, gates=table), output)  # builds the plans
    for how, table in made.items():
        assert not table.bits.is_inference(), how
        for found, exact in zip(slopes(net, x, gates=table), expected, strict=True):
            assert torch.equal(found, exact), how


def test_evaluation_with_a_table_leaves_it_fit_for_training():
    """Of every order of steps and evaluations, in and out of each other."""
    net, x = build(GReLUNetwork), rows(30)
    expected, output = slopes(net, x), net(x)
    table = net.gate_table(x)
    for _ in range(2):
        with torch.inference_mode():
            assert torch.equal(net(x, gates=table), output)
            with torch.inference_mode(False), torch.enable_grad():
                assert all(map(torch.equal, slopes(net, x, gates=table), expected))
        assert all(map(torch.equal, slopes(net, x, gates=table), expected))
    with torch.inference_mode():
        layer = GateTable.from_bool(table.to_bool()).layer(1)
        assert not any(plan.is_inference() for plan in layer.plans)


def test_gates_packed_in_inference_mode_serve_a_later_gradient():
    net, x = build(GReLUNetwork), rows(30)
    table = net.gate_table(x)
    with torch.inference_mode():
        bits = net.gate_net.gates(x)
        layer = ops.GateLayer(bits[1], net.width)
    z, weight = table.to_bool()[0] * 1.0, net.weights[0]
    for gate_in, gate_out in ((bits[0], bits[1]), (bits[0], layer), (table.layer(0), bits[1])):
        found, exact = (
            torch.autograd.grad(ops.masked_linear(z, weight, *gates).square().sum(), weight)[0]
            for gates in ((gate_in, gate_out), (table.layer(0), table.layer(1)))
        )
        assert torch.equal(found, exact)
    z.requires_grad_()
    found, exact = (
        torch.autograd.grad(ops.gram_ntk([z], [z], gates=[gates]).sum(), z)[0] for gates in (bits[1], table.bits[1])
    )
    assert torch.equal(found, exact)


# Gates of any kind

KINDS_OF_GATES = [
    {"block": 16},
    {"kind": "shallow"},
    {"center": torch.linspace(-1, 1, 7)},
    {"block": 9, "kind": "shallow", "center": torch.full((7,), 0.5)},
]


def with_gates(options, dtype=torch.float64, **more):
    gates = GateNetwork(7, 70, 3, torch.Generator().manual_seed(4), **options)
    return GReLUNetwork(7, 70, 3, 2, gates, torch.Generator().manual_seed(0), dtype, **more)


def outputs_by_definition(net, x):
    """With a gate for each neuron, in plain torch, and the gates of the reference."""
    gate_net, block = net.gate_net, net.gate_net.block
    weights = [gate_net.input_weight, *gate_net.weights]
    gates = reference.gate_network(x.to(weights[0].dtype), weights, gate_net.kind, gate_net.center)
    gates = [neurons(gate, net.width, block) for gate in gates]
    return reference.grelu_network(x, gates, list(net.weights), net.input_weight, net.output_weight)


@pytest.mark.parametrize("method", ["auto", "masked", "dense"])
@pytest.mark.parametrize("options", KINDS_OF_GATES)
def test_networks_take_gates_of_any_kind(options, method):
    net, x = with_gates(options), rows(20, dtype=torch.float64)
    net.method = method
    table = net.gate_table(x)
    assert (table.block, table.width) == (net.gate_net.block, 70)
    expected = outputs_by_definition(net, x)
    torch.testing.assert_close(net(x), expected)
    assert torch.equal(net(x[3:9], gates=table[3:9]), net(x[3:9]))
    found = torch.autograd.grad(net(x, gates=table).square().sum(), list(net.parameters()))
    torch.testing.assert_close(found, torch.autograd.grad(expected.square().sum(), list(net.parameters())))
    mask = table.expand().to_bool()
    for t, on in zip(net.intermediate(x), mask, strict=True):
        assert not t[~on].any()


@pytest.mark.parametrize("options", KINDS_OF_GATES)
def test_a_network_draws_c_itself_unless_the_gates_are_those_of_the_paper(options):
    net, plain_net = with_gates(options), build(GReLUNetwork, dtype=torch.float64)
    assert torch.equal(net.input_weight, plain_net.input_weight)
    assert torch.equal(net.output_weight, plain_net.output_weight)
    assert all(torch.equal(a, b) for a, b in zip(net.weights, plain_net.weights, strict=True))


def test_c_of_its_own_lies_beside_the_gates():
    gates = GateNetwork(7, 70, 3, block=10, device="meta")
    net = GReLUNetwork(7, 70, 3, gates=gates)
    assert {tensor.device.type for tensor in (*net.parameters(), *net.buffers())} == {"meta"}
    with pytest.raises(ValueError, match="device: expected that of gates, meta, got cpu"):
        GReLUNetwork(7, 70, 3, gates=gates, device="cpu")


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 90), block=st.integers(1, 90), n=st.integers(1, 9), seed=st.integers(0, 9))
def test_a_block_table_gives_what_its_expansion_gives(width, block, n, seed):
    block = min(block, width)
    gates = GateNetwork(7, width, 2, torch.Generator().manual_seed(seed), block=block)
    net = GReLUNetwork(7, width, 2, 2, gates, dtype=torch.float64)
    single = GReLUNetwork(7, width, 2, 2, dtype=torch.float64)
    single.load_state_dict(net.state_dict() | {f"gate_net.{k}": v for k, v in single.gate_net.state_dict().items()})
    x, table = rows(n, dtype=torch.float64), net.gate_table(rows(n, dtype=torch.float64))
    expanded = GateTable(table.expand().bits, width)
    torch.testing.assert_close(net(x, gates=table), single(x, gates=expanded), rtol=1e-12, atol=1e-12)


BLOCKS = with_gates({"block": 16}, torch.float32)


@pytest.mark.parametrize(
    ("net", "gates", "message"),
    [
        (NET, BLOCKS.gate_table(X), "gates: expected a table of block 1 as the gate network's, got one of block 16"),
        (BLOCKS, TABLE, "gates: expected a table of block 16 as the gate network's, got one of block 1"),
        (BLOCKS, BLOCKS.gate_table(X).expand(), "gates: expected a table of block 16 .*, got one of block 1"),
        (BLOCKS, GateTable.from_bool(torch.ones(4, 6, 7, dtype=torch.bool), 10), "block 16 .* got one of block 10"),
    ],
)
def test_tables_of_another_block_are_refused(net, gates, message):
    with pytest.raises(ValueError, match=message):
        net(X, gates=gates)


def test_a_table_of_another_kind_is_refused():
    other = with_gates({"block": 16, "kind": "shallow"}, torch.float32)
    with pytest.raises(GateTableError, match="gates: expected a table of this network's gate network"):
        BLOCKS(X, gates=other.gate_table(X))


def test_a_sample_that_is_no_number_shows_in_its_outputs():
    x = X.clone()
    x[2, 0] = torch.nan
    for net in (NET, BLOCKS):
        outputs = net(x)
        assert outputs[2].isnan().all()
        torch.testing.assert_close(outputs[:2], net(X)[:2])
