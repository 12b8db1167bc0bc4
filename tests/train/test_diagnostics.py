import math

import pytest
import torch
from cases.fixed_ends import DEPTH, KINDS, OUTPUTS, N, full_jacobian, masks, moved, network, samples

from gatentk.train import DIAGNOSTICS, Monitor, Probe, diagnostics, quantities, square_loss


@pytest.mark.parametrize("kind", KINDS)
def test_the_monitor_measures_everything_against_start_and_epoch_before(kind):
    net, (x, y) = network(kind), samples()
    gates = net.gate_table(x) if kind == "grelu" else None
    monitor = Monitor(DIAGNOSTICS, Probe(x, y, square_loss, gates), net)
    first_weights = [w.detach().clone() for w in net.weights]
    first_J, first_outputs = full_jacobian(net, x), net(x).detach()
    first = monitor.measure(net)
    assert list(first) == list(DIAGNOSTICS)
    assert first["gradient"] is None
    assert first["patterns"] is None
    assert first["tau"] == 0
    assert first["drift"] == 0
    assert first["linearised"] == pytest.approx(0, abs=1e-14)  # the same outputs, summed in another order

    moved(net)
    before_gradient = quantities.gradient(net, x, y, square_loss)
    before_mask = masks(net, x)
    monitor.measure(net)
    moved(net, seed=6)
    values = monitor.measure(net)
    change = torch.cat([(w.detach() - v).flatten() for w, v in zip(net.weights, first_weights, strict=True)])
    assert values["tau"] == pytest.approx(quantities.tau(list(net.weights), first_weights))
    gradient = quantities.gradient(net, x, y, square_loss)
    assert values["gradient"] == pytest.approx(float((gradient - before_gradient).norm()))
    layers = DEPTH if kind == KINDS[2] else DEPTH + 1
    switched = (masks(net, x) != before_mask).double().mean(dim=(1, 2))[:layers]
    assert values["patterns"] == pytest.approx(switched.tolist())
    assert (max(values["patterns"]) == 0) == (kind == "grelu")
    J = full_jacobian(net, x)

    def traced(J):
        K = (J @ J.T).view(N, OUTPUTS, N, OUTPUTS)
        return K.diagonal(dim1=1, dim2=3).sum(-1)

    drift = (traced(J) - traced(first_J)).norm() / traced(first_J).norm()
    assert values["drift"] == pytest.approx(float(drift), rel=1e-9)
    linear = first_outputs + (first_J @ change).view(N, OUTPUTS)
    outputs = net(x).detach()
    assert values["linearised"] == pytest.approx(float((outputs - linear).norm() / outputs.norm()), rel=1e-9)


def test_only_what_is_asked_for_is_measured():
    net, (x, y) = network("relu"), samples()
    monitor = Monitor(("dead", "tau"), Probe(x, y, square_loss), net)
    assert list(monitor.measure(net)) == ["dead", "tau"]


def test_a_network_that_was_observed_is_the_one_before():
    net, (x, y) = network("relu"), samples()
    monitor = Monitor(("gradient", "patterns"), Probe(x, y, square_loss), net)
    monitor.observe(net)
    assert monitor.measure(net) == {"gradient": 0.0, "patterns": [0.0] * (DEPTH + 1)}


def test_kernels_and_eigenvalues_are_measured_on_few_samples(monkeypatch):
    net, (x, y) = network("grelu"), samples(n=200)
    sizes = []
    compute = diagnostics.ntk.empirical
    monkeypatch.setattr(diagnostics.ntk, "empirical", lambda net, x: sizes.append(len(x)) or compute(net, x))
    monitor = Monitor(("drift", "spectra"), Probe(x, y, square_loss, net.gate_table(x)), net)
    values = monitor.measure(net)
    assert sizes == [diagnostics.KERNEL_SAMPLES] * 2
    assert values["spectra"] == quantities.extreme_eigenvalues(net, x[: diagnostics.SPECTRA_SAMPLES])
    assert math.isfinite(values["drift"])
