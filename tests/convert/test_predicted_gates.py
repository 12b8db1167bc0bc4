"""Inference with predicted gates against the same in plain torch."""

import copy
import math
import pickle

import pytest
import torch
from cases.conversions import gate_inputs, grelu, network, relative, samples

from gatentk import convert, ops, reference


@pytest.mark.parametrize("depth", [1, 3])
def test_without_a_last_relu_the_last_layer_has_no_gates(depth, generator):
    net, x = network("relu", 8, 32, depth, generator, last_relu=False), samples(50, 8, generator)
    fast, report = convert.low_rank_gates(net, x, rank=32)
    assert len(report.layers) == depth - 1
    assert fast.gate_table(x).layers == depth
    torch.testing.assert_close(fast(x), net(x).detach(), rtol=1e-10, atol=1e-10)
    repr(fast)


@pytest.mark.parametrize("kind", ["grelu", "relu"])
def test_outputs_are_those_of_the_predicted_gates(kind, generator):
    net, x = network(kind, 8, 40, 3, generator), samples(50, 8, generator)
    fast, report = convert.low_rank_gates(net, x)
    assert report.rank == fast.u_1.shape[1] == round(math.sqrt(40) / 2)
    z = (x @ net.input_weight.T).relu()
    t, gates, exact = z, [z > 0], [z > 0]
    for k, (psi, before) in enumerate(gate_inputs(net, x), 1):
        guess = z @ getattr(fast, f"v_{k}").T @ getattr(fast, f"u_{k}").T
        gates.append(guess > 0)
        exact.append(before @ psi.T > 0)
        t = gates[-1] * (t @ net.weights[k - 1].detach().T)
        t = t if kind == "grelu" else t.relu()
        z = guess.relu() if kind == "grelu" else t
    y, y_exact = t @ net.output_weight.T, net(x).detach()
    torch.testing.assert_close(fast(x), y, rtol=1e-10, atol=1e-10)
    assert torch.equal(fast.gate_table(x).to_bool(), torch.stack(gates))
    for p in report.layers:
        assert p.agreement == pytest.approx(float((gates[p.layer] == exact[p.layer]).double().mean()), abs=1e-12)
        assert 0.5 < p.agreement < 1
    assert report.output_error == pytest.approx(relative(y, y_exact), rel=1e-9)
    lines = str(report).splitlines()
    assert lines[0] == f"gates of rank 3 at width 40, n = 50 samples: relative output error {report.output_error:.2g}"
    assert lines[2].split() == [
        "1",
        *(f"{value:.4f}" for value in (report.layers[0].agreement, report.layers[0].estimate, report.layers[0].energy)),
    ]


@pytest.mark.parametrize("kind", ["grelu", "relu"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_neurons_off_for_the_whole_batch_are_not_computed(kind, share, generator, monkeypatch):
    net, x = network(kind, 8, 40, 2, generator), samples(90, 8, generator)
    for weight in net.gate_net.weights if kind == "grelu" else net.weights:
        weight.data[: int(40 * share)].abs_().neg_()  # activations are never negative
    fast, _ = convert.low_rank_gates(net, x, rank=40)
    few, many = net(x[:3]).detach(), net(x).detach()
    sizes, product = [], ops.masked_linear

    def spy(z, weight, *rest, **options):
        sizes.append(len(weight))
        return product(z, weight, *rest, **options)

    monkeypatch.setattr(ops, "masked_linear", spy)
    torch.testing.assert_close(fast(x), many, rtol=1e-10, atol=1e-10)
    assert sizes[0] == 40
    assert max(sizes[1:3]) <= 40 - int(40 * share)
    sizes.clear()
    torch.testing.assert_close(fast(x[:3]), few, rtol=1e-10, atol=1e-10)
    # Three samples are too few for gathering rows to pay, unless none is needed.
    assert sizes[1:3] == ([40, 40] if share < 1 else [0, 0])


def test_inference_mode_and_later_calls_without_it(generator):
    net, x = network("relu", 8, 40, 2, generator), samples(90, 8, generator)
    net.weights[0].data[:20].abs_().neg_()
    fast, _ = convert.low_rank_gates(net, x, rank=40)
    with torch.inference_mode():
        inside = fast(x)
    assert torch.equal(fast(x), inside)
    torch.testing.assert_close(fast.float()(x.float()), net(x.float()).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["grelu", "relu"])
def test_copies_and_pickles_compute_the_same(kind, generator):
    net, x = network(kind, 8, 40, 2, generator), samples(30, 8, generator)
    fast, _ = convert.low_rank_gates(net, x)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(other(x), fast(x))
        assert not other._rows
    blank = convert.low_rank_gates(network(kind, 8, 40, 2, generator), x)[0]
    blank.load_state_dict(fast.state_dict())
    assert torch.equal(blank(x), fast(x))
    assert "rank=3" in repr(fast)
    assert not fast(x).requires_grad


def test_bits_of_the_predicted_gates_are_packed_as_everywhere(generator):
    net, x = network("relu", 8, 40, 1, generator), samples(30, 8, generator)
    fast, _ = convert.low_rank_gates(net, x)
    assert torch.equal(fast.gate_table(x).bits[0], reference.pack_bits(x @ net.input_weight.T > 0))


def test_other_samples_are_checked(generator):
    fast, _ = convert.low_rank_gates(grelu(5, 16, 2, generator), samples(8, 5, generator))
    with pytest.raises(ValueError, match=r"x: expected shape \(n, 5\)"):
        fast(samples(8, 4, generator))
    assert fast(samples(0, 5, generator)).shape == (0, 3)
