"""What cells compute, of tiny networks."""

import json

import pytest
import torch
from cases.experiments import plain_numbers_of, settings_of

from gatentk.papers.blocks import EXPERIMENT
from gatentk.papers.blocks.cells import MeasuredCell, Times, kernel_rows
from gatentk.papers.blocks.learning import Timed
from gatentk.papers.blocks.settings import Network


def without_times(numbers):
    return json.loads(json.dumps(numbers), object_hook=lambda d: {k: v for k, v in d.items() if k != "seconds"})


@pytest.mark.parametrize("key", ["digits centred width 32 block 16", "friedman relu width 24"])
def test_trainings_are_those_of_the_seed(results, small, key):
    assert without_times(plain_numbers_of(EXPERIMENT, small, key)) == without_times(results[key])


def test_every_network_is_trained_by_all_seeds(results, small):
    fell = []
    for task, chosen in small["tasks"].items():
        for network in chosen["networks"]:
            trained = results[f"{task} {Network(**network).name}"]
            assert len(trained["curves"]) == small["seeds"]
            assert trained["rate"] in [trial["rate"] for trial in trained["trials"]]
            for curve in trained["curves"]:
                assert len(curve["seconds"]) == chosen["epochs"]
                assert len(curve["test"]) == chosen["epochs"] + 1
                fell.append(curve["train"][-1]["loss"] < curve["train"][0]["loss"])
    assert sum(fell) > 0.7 * len(fell)  # two deep units may be off for all samples


def test_speedups_are_medians_of_ratios_of_the_same_round():
    a, b = Network("relu", 8), Network("deep", 8, 4)
    # The machine was ten times as slow in the second round; a ratio of medians would be 1.
    times = Times({a.name: Timed([2.0, 20.0, 3.0], 0.0), b.name: Timed([1.0, 10.0, 3.0], 0.5)}, 1, 1)
    assert times.speedup(b, a) == 2.0
    assert times.speedup(a, b) == 0.5
    assert times.seconds(b) == 3.0


def test_kernels_are_measured_of_as_many_samples_and_seeds_as_asked_for(results, small):
    settings = settings_of(EXPERIMENT, small)
    assert kernel_rows(settings, "digits").shape == (12, 64)
    assert kernel_rows(settings, "digits").dtype == torch.float64
    for task, chosen in settings.tasks.items():
        for network in chosen.networks:
            found = results[MeasuredCell(task, network).key]
            assert len(found["values"]) == 2
            assert min(found["values"]) > 1


def test_many_gates_have_the_condition_number_of_the_closed_form(small):
    settings = settings_of(EXPERIMENT, small)
    (closed,) = plain_numbers_of(EXPERIMENT, small, "digits centred kernel in closed form")["values"]
    found = MeasuredCell("digits", Network("centred", 2048, 1)).compute(settings).values
    assert found == pytest.approx([closed] * 2, rel=0.25)
