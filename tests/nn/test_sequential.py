"""Gated networks of sequences against the same by torch's own modules."""

import copy
import pickle
import warnings

import pytest
import torch
from cases.sequences import D_IN, SEQUENCES, dense, perturbed, plain_gated, plain_gates, samples, sequence
from torch import nn

from gatentk import ops
from gatentk.errors import GateTableError, UnsupportedModuleError
from gatentk.nn import GReLUSequential
from gatentk.nn.sequential import steps_of

NAMES = pytest.mark.parametrize("name", SEQUENCES)


def trained(name, **options):
    """A network whose weights are no longer those that its gates came from, and the gates' sequence."""
    model = sequence(name, **options)
    return perturbed(GReLUSequential(copy.deepcopy(model))), model


@NAMES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_begins_as_the_sequence(name, dtype):
    model, x = sequence(name, dtype), samples(40, dtype)
    net = GReLUSequential(copy.deepcopy(model)).eval()
    torch.testing.assert_close(net(x), model(x))
    tables = net.gate_tables(x)
    for table, gate in zip(tables, plain_gates(model, x), strict=True):
        assert torch.equal(table.to_bool()[0], gate)
    rows = torch.tensor([5, 0, 5])
    assert torch.equal(net(x[rows], gates=[table[rows] for table in tables]), net(x[rows]))


@NAMES
@pytest.mark.parametrize("method", ops.METHODS)
def test_outputs_and_gradients_are_those_of_fixed_gates(name, method):
    net, model = trained(name)
    net.method = method
    x = samples(30).requires_grad_()
    gates = plain_gates(model, x.detach())
    results = []
    for run in (lambda: net(x, gates=net.gate_tables(x.detach())), lambda: plain_gated(net.layers, x, gates)):
        out = run()
        results.append((out, *torch.autograd.grad(out.sin().sum(), (x, *net.parameters()))))
    torch.testing.assert_close(*results)
    assert torch.equal(net(x), results[0][0])


def test_dropout_drops_activations_and_changes_no_gate():
    net, model = trained("nested", train=True)
    x = samples(400)
    gates = plain_gates(model, x)
    for table, gate in zip(net.gate_tables(x), gates, strict=True):
        assert torch.equal(table.to_bool()[0], gate)
    expected = plain_gated(net.layers, x, gates)
    assert not torch.equal(net(x), net(x))
    torch.testing.assert_close(net.eval()(x), expected)


def test_state_and_dtype():
    net, model = trained("nested")
    assert {name for name in net.state_dict() if name.startswith("layers.")} == {
        f"layers.{k}" for k in model.state_dict()
    }
    assert {name for name, _ in net.named_parameters()} == {f"layers.{name}" for name, _ in model.named_parameters()}
    x = samples(20)
    other = GReLUSequential(sequence("nested"))
    other.load_state_dict(net.state_dict())
    for again in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(again(x, gates=net.gate_tables(x)), net(x))
    single = copy.deepcopy(net).float()
    assert {weight.dtype for weight in single.gate_net.weights} == {torch.float64}
    x = x.float()
    assert torch.equal(single.gate_tables(x)[1].bits, net.gate_tables(x.double())[1].bits)
    torch.testing.assert_close(single(x), net(x.double()).float(), rtol=1e-4, atol=1e-4)


def test_low_precision(generator):
    net, _ = trained("biases", dtype=torch.float32)
    x = samples(20, torch.float32)
    expected = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow, which is said once
        low = copy.deepcopy(net).bfloat16()(x.bfloat16())
    torch.testing.assert_close(low.float(), expected, rtol=0.1, atol=0.05)


def test_compiled_without_a_break():
    net, _ = trained("biases")
    x = samples(9)
    tables = net.gate_tables(x)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x))
    torch.testing.assert_close(compiled(x, gates=tables), net(x))


def test_gates_are_the_same_in_any_batch_and_for_any_threads():
    net, x = GReLUSequential(sequence("biases", torch.float32)), samples(70, torch.float32)
    tables = net.gate_tables(x)
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for start in range(0, 70, 17):
            for table, part in zip(tables, net.gate_tables(x[start : start + 17]), strict=True):
                assert torch.equal(table.bits[:, start : start + 17], part.bits)
    torch.set_num_threads(before)
    assert [table.n for table in net.gate_tables(x[:0])] == [0, 0, 0]
    assert net(x[:0]).shape == (0, 3)


def test_a_sample_that_is_no_number_shows():
    net, x = GReLUSequential(sequence("biases")), samples(3)
    x[1, 2] = torch.nan
    assert torch.isnan(net(x)).any(1).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="x: expected finite values, got nan"):
        net.gate_tables(x)
    large = sequence("biases", torch.float32)
    large[0].weight.data.mul_(1e38)
    with pytest.raises(ValueError, match="activations of layer 0: expected finite values, got inf"):
        GReLUSequential(large).gate_tables(samples(9, torch.float32) * 1e3)


def test_tables_of_others_are_refused():
    net, x = GReLUSequential(dense(D_IN, 30, 30, 3).double()), samples(8)
    first, second = net.gate_tables(x)
    wrong = (
        (TypeError, "gates: expected a list of gatentk.gates.GateTable", first),
        (ValueError, r"widths \[30, 30\], got \(layers=1, n=8, width=30, block=1\)$", [first]),
        (ValueError, r"8 samples for .*, got \(layers=1, n=7,", [first[:7], second]),
        (GateTableError, "gates: expected for layer 0 a table of this network", [second, first]),
        (
            GateTableError,
            "gates: expected for layer 0",
            GReLUSequential(dense(D_IN, 30, 30, 3).double()).gate_tables(x),
        ),
    )
    for error, message, gates in wrong:
        with pytest.raises(error, match=message):
            net(x, gates=gates)
    before = net.gate_net.fingerprint
    with torch.no_grad():
        net.gate_net.psi_1[0, 0] += 1
    assert net.gate_net.fingerprint != before
    with pytest.raises(GateTableError, match="layer 0"):
        net(x, gates=[first, second])


class Wide(nn.Linear):
    pass


class Reversed(nn.Flatten):
    def forward(self, x):
        return super().forward(x).flip(1)


@pytest.mark.parametrize(
    ("error", "message", "layers"),
    [
        (UnsupportedModuleError, r"layers\.0: expected Linear, ReLU right .*, got ReLU\(\)", lambda: [nn.ReLU()]),
        (UnsupportedModuleError, r"layers\.2: .*, got ReLU\(\)", lambda: [nn.Linear(6, 6), nn.ReLU(), nn.ReLU()]),
        (UnsupportedModuleError, r"layers\.1: .*, got GELU", lambda: [nn.Linear(6, 6), nn.GELU()]),
        (UnsupportedModuleError, r"layers\.0: .*, got Wide", lambda: [Wide(6, 6)]),
        (
            UnsupportedModuleError,
            r"layers\.1\.0: .*, got LayerN",
            lambda: [nn.Identity(), nn.Sequential(nn.LayerNorm(6))],
        ),
        (UnsupportedModuleError, r"layers\.1: .*, got Flatten", lambda: [nn.Linear(6, 6), nn.Flatten()]),
        (UnsupportedModuleError, r"layers\.0: .*, got Flatten\(start_dim=0", lambda: [nn.Flatten(0)]),
        (UnsupportedModuleError, r"layers\.0: .*, got Reversed", lambda: [Reversed(), nn.Linear(6, 6)]),
        (UnsupportedModuleError, r"layers\.2: .*, got ReLU", lambda: [nn.Linear(6, 6), nn.Dropout(), nn.ReLU()]),
        (ValueError, "layers: expected at least one Linear", lambda: [nn.Identity()]),
        (TypeError, r"layers\.0: expected float32 or float64, got", lambda: [nn.Linear(6, 6).half()]),
    ],
)
def test_other_sequences_are_refused(error, message, layers):
    with pytest.raises(error, match=message):
        GReLUSequential(nn.Sequential(*layers()))


def test_other_arguments_are_refused():
    with pytest.raises(TypeError, match=r"layers: expected an nn\.Sequential, got"):
        GReLUSequential([nn.Linear(6, 6)])
    net = GReLUSequential(sequence("biases"))
    with pytest.raises(ValueError, match=r"x: expected shape \(n, 6\)"):
        net(samples(3)[:, 1:])
    with pytest.raises(ValueError, match=r"x: expected shape \(n, 6\)"):
        net(samples(3)[0])
    with pytest.raises(TypeError, match="x: expected a torch tensor"):
        net([[1.0] * 6])
    images = GReLUSequential(sequence("nested")).eval()
    torch.testing.assert_close(images(samples(4).reshape(4, 2, 3)), images(samples(4)))
    with pytest.raises(ValueError, match=r"x: expected shape \(n, \.\.\.\) of 6 features"):
        images(samples(4)[:, :5])


def test_steps_are_linear_layers_with_what_follows():
    flatten, steps = steps_of("model", sequence("nested"))
    assert flatten
    assert steps == (("1.0", True, ("1.3",)), ("2.0", True, ("2.2",)), ("3", False, ()))


def test_a_layer_that_is_used_twice_is_two_steps():
    torch.manual_seed(0)
    act, linear = nn.ReLU(), nn.Linear(30, 30)
    model = nn.Sequential(nn.Linear(D_IN, 30), act, linear, act, nn.Sequential(linear, act), nn.Linear(30, 3)).double()
    assert [(step.name, step.relu) for step in steps_of("model", model)[1]] == [
        ("0", True),
        ("2", True),
        ("4.0", True),
        ("5", False),
    ]
    net, x = GReLUSequential(copy.deepcopy(model)), samples(20)
    torch.testing.assert_close(net(x), model(x))
    assert [table.width for table in net.gate_tables(x)] == [30, 30, 30]
