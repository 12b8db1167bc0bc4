from dataclasses import replace

import pytest
from cases.peaks import peak_ratio
from cases.training import DEPTH, small

from gatentk import train
from gatentk.train.memory import gate_weights, table_bytes


def test_memory_grows_with_what_is_asked_for():
    config = small(width=2000, rates=(0.1,), dtype="float32")
    samples = train.prepare_training(config)
    least = train.training_memory(replace(config, model="relu"), samples)
    assert least > 3 * DEPTH * 2000**2 * 4
    more = [{}, {"optimizer": "adam", "model": "relu"}, {"diagnostics": ("gradient",), "model": "relu"}]
    assert all(train.training_memory(replace(config, **changes), samples) > least for changes in more)


@pytest.mark.parametrize("options", [{}, {"block": 7}, {"gates": "shallow"}, {"block": 7, "gates": "shallow"}], ids=str)
def test_gate_networks_and_tables_are_counted_as_they_are(options):
    config = small(width=100, **options)
    samples = train.prepare_training(config)
    network = train.build(config, samples, 0)
    drawn_by = network.gate_net
    assert gate_weights(config, 64) == sum(weight.numel() for weight in (drawn_by.input_weight, *drawn_by.weights))
    assert table_bytes(config, len(samples.train)) == network.gate_table(samples.train.x).bits.numel()


def test_a_relu_network_has_no_gates():
    config = small(model="relu")
    assert gate_weights(config, 64) == table_bytes(config, 40) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"width": 2500, "n": 100},
        {"width": 2500, "n": 100, "optimizer": "adam"},
        {"width": 2500, "n": 100, "rates": (0.001, 0.01)},
        {"width": 1000, "depth": 3, "n": 1700, "optimizer": "gd", "model": "relu"},
        {"width": 2000, "n": 500, "epochs": 2, "optimizer": "gd", "switch": 1},
        {"width": 2000, "n": 500, "diagnostics": ("tau", "gradient")},
        {"width": 2500, "n": 100, "block": 32, "gates": "shallow", "center": True},
        {"width": 1500, "n": 500, "diagnostics": ("drift", "linearised")},
    ],
    ids=str,
)
def test_the_estimate_is_within_a_factor_of_the_peak(options):
    options = {"epochs": 1, "trial_epochs": 1, "rates": (0.001,), "depth": 2, **options}
    code = f"""
import tempfile
from pathlib import Path
from gatentk.train.config import TrainingConfig
from gatentk.train.folder import run_all
from gatentk.train.memory import training_memory
from gatentk.train.samples import prepare_training

def prepared(**options):
    config = TrainingConfig("digits", **options)
    return config, prepare_training(config)

run_all(*prepared(n=40, width=16, depth=2, epochs=2, rates=(0.1,)), Path(tempfile.mkdtemp()))
config, samples = prepared(**{options!r})
estimate = training_memory(config, samples)
run = lambda: run_all(config, samples, Path(tempfile.mkdtemp()))
"""
    assert 1 / 1.6 < peak_ratio(code) < 1.6
