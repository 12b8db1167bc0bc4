"""Inference of sequences with predicted gates against the same in plain torch."""

import copy
import math
import pickle

import pytest
import torch
from cases.conversions import relative
from cases.sequences import SEQUENCES, dense, plain_gates, samples, sequence
from torch import nn

from gatentk import convert, ops
from gatentk.errors import UnsupportedModuleError

NAMES = pytest.mark.parametrize("name", SEQUENCES)


def plain(model, x, fast):
    """Outputs and gates of predicted gates, by products with the factors."""
    layers = [part for part in model.modules() if isinstance(part, (nn.Linear, nn.ReLU))]
    z, gates, k = x, [], -1
    for part, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(part, nn.ReLU):
            continue
        k += 1
        value = part(z)
        if isinstance(following, nn.ReLU):
            guess = value
            if hasattr(fast, f"u_{k}"):
                guess = z @ getattr(fast, f"v_{k}").T @ getattr(fast, f"u_{k}").T
                guess = guess if part.bias is None else guess + part.bias
            gates.append(guess > 0)
            value = torch.where(gates[-1], value, 0).relu()
        z = value
    return z.detach(), gates


@NAMES
@pytest.mark.parametrize("n", [9, 60])
def test_full_rank_reproduces_gates_and_outputs(name, n):
    model, x = sequence(name), samples(n)
    widest = max(part.out_features for part in model.modules() if isinstance(part, nn.Linear))
    fast, report = convert.low_rank_gates(model, x, widest)
    torch.testing.assert_close(fast(x), model(x).detach(), rtol=1e-9, atol=1e-9)
    assert report.output_error < 1e-9
    assert (report.rank, report.n, report.width) == (widest, n, widest)
    gates = plain_gates(model, x)
    assert [(p.layer, p.agreement) for p in report.layers] == [(k, 1.0) for k in range(1, len(gates))]
    for table, gate in zip(fast.gate_tables(x), gates, strict=True):
        assert torch.equal(table.to_bool()[0], gate)


@NAMES
def test_outputs_are_those_of_the_predicted_gates(name):
    model, x = sequence(name), samples(50)
    fast, report = convert.low_rank_gates(model, x)
    y, gates = plain(model, x, fast)
    torch.testing.assert_close(fast(x), y, rtol=1e-9, atol=1e-9)
    exact = plain_gates(model, x)
    for table, gate in zip(fast.gate_tables(x), gates, strict=True):
        assert torch.equal(table.to_bool()[0], gate)
    for p in report.layers:
        share = float((gates[p.layer] == exact[p.layer]).double().mean())
        assert p.agreement == pytest.approx(share, abs=1e-12)
        assert 0.5 < p.agreement <= 1
    assert report.output_error == pytest.approx(relative(y, model(x).detach()), rel=1e-7, abs=1e-12)


def test_factors_are_the_best_of_their_rank():
    """By the singular values of what they approximate."""
    model, x = dense(6, 30, 50, 20, 3).double().requires_grad_(False), samples(70)
    fast, report = convert.low_rank_gates(model, x, 4)
    z = model[0](x).relu()
    for k, linear in enumerate((model[2], model[4]), 1):
        u, v = getattr(fast, f"u_{k}"), getattr(fast, f"v_{k}")
        assert (u.shape, v.shape) == ((linear.out_features, 4), (4, linear.in_features))
        values = z @ linear.weight.T
        sigma = torch.linalg.svdvals(values)
        error = float((values - z @ v.T @ u.T).norm() ** 2)
        assert error == pytest.approx(float(sigma[4:].square().sum()), rel=1e-7)
        energy = report.layers[k - 1].energy
        assert energy == pytest.approx(float(sigma[:4].square().sum() / sigma.square().sum()), rel=1e-9)
        z = linear(z).relu()


def test_the_rank_of_a_small_layer_is_its_size():
    model = dense(6, 30, 4, 40, 3).double()
    fast, report = convert.low_rank_gates(model, samples(50), 20)
    assert [tuple(fast.get_buffer(name).shape) for name in ("u_1", "v_1", "u_2", "v_2")] == [
        (4, 4),
        (4, 30),
        (40, 4),
        (4, 4),
    ]
    assert report.rank == 20
    assert convert.low_rank_gates(model, samples(50))[1].rank == round(math.sqrt(40) / 2)


def test_neurons_off_for_the_whole_batch_are_not_computed(monkeypatch):
    model, x = dense(6, 40, 50, 50, 3).double(), samples(90)
    for linear in (model[2], model[4]):
        linear.weight.data[:30].abs_().neg_()
        linear.bias.data[:30] = -1
    fast, _ = convert.low_rank_gates(model, x, 50)
    expected = model(x).detach()
    sizes, product = [], ops.masked_linear

    def spy(z, weight, *rest, **options):
        sizes.append(len(weight))
        return product(z, weight, *rest, **options)

    monkeypatch.setattr(ops, "masked_linear", spy)
    for _ in range(2):
        sizes.clear()
        torch.testing.assert_close(fast(x), expected, rtol=1e-9, atol=1e-9)
        assert (sizes[0], sizes[3]) == (40, 3)
        assert max(sizes[1:3]) <= 20


def test_copies_dtypes_and_inference_mode():
    model, x = sequence("nested"), samples(30)
    fast, _ = convert.low_rank_gates(model, x)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(other(x), fast(x))
    assert "rank=3" in repr(fast)
    assert not fast(x).requires_grad
    with torch.inference_mode():
        assert torch.equal(fast(x), fast(x.reshape(30, 2, 3)))
    single = copy.deepcopy(fast).float()
    torch.testing.assert_close(single(x.float()), fast(x).float(), rtol=0.1, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert single(x.float()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "rank: expected at most the width 50 of the widest layer, got 51", {"rank": 51}),
        (ValueError, "rank: expected an integer of at least 1, got 0", {"rank": 0}),
        (ValueError, r"x: expected shape \(n, 6\)", {"x": samples(4)[:, 1:]}),
        (TypeError, "x: expected torch.float64 as the network's weights", {"x": samples(4).float()}),
        (ValueError, "x: expected finite values", {"x": samples(4) / 0}),
        (UnsupportedModuleError, r"net\.1: expected Linear", {"net": nn.Sequential(nn.Linear(6, 6), nn.GELU())}),
        (TypeError, r"net: expected a GReLUNetwork, a ReLUNetwork or an nn\.Sequential", {"net": nn.Linear(6, 6)}),
    ],
)
def test_other_arguments_are_refused(error, message, call):
    with pytest.raises(error, match=message):
        convert.low_rank_gates(**{"net": sequence("biases"), "x": samples(9), **call})
