"""Other gates than those of [G]: what must come out on digits, and claims that follow the numbers."""

import pytest
import torch
from cases.experiments import findings_of, settings_of

from gatentk import ntk
from gatentk.gates import GateNetwork
from gatentk.papers.grelu_conditioning import EXPERIMENT
from gatentk.papers.grelu_conditioning.cells import unit_rows
from gatentk.papers.grelu_conditioning.gates import BLOCKS, GATES


def gate_claims(settings, numbers):
    claims = [c for c in findings_of(EXPERIMENT, settings, numbers).claims if c.source.endswith("other gates are new")]
    assert len(claims) == 3
    return [claim.agrees for claim in claims]


def test_condition_numbers_are_those_of_the_closed_forms(results):
    x, _ = unit_rows("digits", 150, 0)
    for gates, (kind, centred) in GATES.items():
        center = x.mean(0) if centred else torch.zeros(x.shape[1])
        net = GateNetwork(x.shape[1], 1, 0, kind=kind, center=center, dtype=x.dtype)
        values = torch.linalg.eigvalsh(ntk.infinite(x, depth=2, activation="grelu", gates=net))
        assert results[f"digits grelu {gates} gates depth 2"]["condition"] == pytest.approx(values[-1] / values[0])


def test_on_digits_centred_half_spaces_are_the_best_gates(settings, results):
    for depth in settings["depths"]:
        conditions = {gates: results[f"digits grelu {gates} gates depth {depth}"]["condition"] for gates in GATES}
        assert min(conditions, key=conditions.get) == "shallow centred"
        assert conditions["shallow centred"] < results[f"digits grelu depth {depth}"]["condition"]
    assert gate_claims(settings, results)[0] is True


def test_claims_follow_the_numbers(settings, altered):
    altered["digits grelu shallow centred gates depth 3"]["condition"] = 1e9
    altered["digits grelu shallow centred gates depth 2"]["steps"] = 1e9
    for seed in range(2):
        altered[f"digits grelu shallow centred gates of {BLOCKS[-1]} depth 1 seed {seed}"]["condition_bound"] = 1e9
    assert gate_claims(settings, altered) == [False] * 3


def test_an_unresolved_kernel_decides_nothing_unless_the_bound_does(settings, altered):
    altered["digits grelu shallow centred gates depth 3"] |= {"resolved": False, "condition": None}
    assert gate_claims(settings, altered)[0] is None
    altered["digits grelu shallow centred gates depth 3"] |= {"condition": 1.0}
    altered["digits grelu depth 3"] |= {"resolved": False, "condition": None, "condition_bound": 1e14}
    assert gate_claims(settings, altered)[0] is True


def test_few_neurons_share_no_gates(settings):
    keys = [cell.key for cell in EXPERIMENT.cells(settings_of(EXPERIMENT, settings | {"width": 64}))]
    assert not any("gates of 16" in key for key in keys)
    assert any("gates of 1 " in key for key in keys)
