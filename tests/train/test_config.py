import math
import subprocess
import sys

import pytest

from gatentk.train import DIAGNOSTICS, DTYPES, LOSSES, TrainingConfig, config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "tanh"}, "model: expected one of 'grelu', 'relu', got 'tanh'"),
        ({"optimizer": "lbfgs"}, "optimizer: expected one of"),
        ({"loss": "hinge"}, "loss: expected one of"),
        ({"normalize": "l1"}, "normalize: expected one of"),
        ({"dtype": "float16"}, "dtype: expected one of"),
        ({"width": 0}, "width: expected an integer of at least 1"),
        ({"epochs": 0}, "epochs: expected an integer of at least 1"),
        ({"rates": (0.1, -1.0)}, "rates: expected different positive"),
        ({"rates": (0.1, 0.1)}, "rates: expected different positive"),
        ({"rates": (math.nan,)}, "rates: expected different positive"),
        ({"rates": (0.1, 1e38)}, r"rates: expected different positive .* up to 1e\+30"),
        ({"rates": (math.inf,)}, r"rates: expected different positive .* up to 1e\+30"),
        ({"switch": 3, "switch_rate": 1e300}, r"switch_rate: expected a positive learning rate up to 1e\+30"),
        ({"test_fraction": 1.0}, "test_fraction: expected a share"),
        ({"diagnostics": ("tau", "entropy")}, "diagnostics: expected one of 'tau', .*'entropy'"),
        ({"optimizer": "gd", "batch": 5}, "batch: full-batch gradient descent"),
        ({"batch": 0}, "batch: expected an integer of at least 1"),
        ({"switch": 5, "model": "relu"}, "switch: only a GReLU network"),
        ({"switch": 50}, "switch: expected an epoch before the last, 50, got 50"),
        ({"switch_rate": 0.1}, "switch_rate: expected none without a switch"),
        ({"switch": 5, "switch_rate": 0.0}, "switch_rate: expected a positive learning rate"),
        ({"block": 0}, "block: expected an integer of at least 1"),
        ({"block": 9, "width": 8}, "block: expected at most the width, 8, got 9"),
        ({"gates": "random"}, "gates: expected one of 'deep', 'shallow', got 'random'"),
        ({"block": 4, "model": "relu"}, "block: only a GReLU network has gates, got 4 with model 'relu'"),
        ({"gates": "shallow", "model": "relu"}, "gates: only a GReLU network has gates"),
        ({"center": True, "model": "relu"}, "center: only a GReLU network has gates"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(data="digits", **options)


def test_center_is_a_question_and_no_vector():
    with pytest.raises(TypeError, match="center: expected a bool, got list"):
        TrainingConfig(data="digits", center=[0.5])


def test_choices_are_the_rows_of_the_tables():
    assert tuple(DIAGNOSTICS) == config.DIAGNOSTIC_NAMES
    assert tuple(LOSSES) == config.LOSS_NAMES
    assert tuple(DTYPES) == config.DTYPES


def test_choices_and_defaults_are_known_without_torch():
    program = "import sys, gatentk.train; gatentk.train.TrainingConfig; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
