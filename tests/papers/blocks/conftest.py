"""Tiny networks on digits and on numbers to predict."""

import pytest
from cases.experiments import defaults, plain_numbers

from gatentk.papers.blocks import EXPERIMENT

RELU = [{"kind": "relu", "width": width, "block": 1} for width in (24, 32, 48)]


def gated(kind, width):
    return [{"kind": kind, "width": width, "block": block} for block in (1, 16)]


@pytest.fixture(scope="package")
def small():
    common = {"path": None, "n": 60, "epochs": 2, "trial_epochs": 1, "batch": 16, "factors": [0.1, 0.3]}
    digits = {"source": "digits", "normalize": "unit", "loss": "cross-entropy"}
    numbers = {"source": "friedman", "normalize": "standard", "loss": "square"}
    of_digits = [*RELU, *gated("centred", 32), *gated("centred", 48), *gated("deep", 32)]
    return defaults(EXPERIMENT) | {
        "tasks": {
            "digits": common | digits | {"networks": of_digits},
            "friedman": common | numbers | {"networks": [*RELU, *gated("shallow", 32)]},
        },
        "missing": {"fashion-mnist": "its files"},
        "depth": 2,
        "seeds": 2,
        "rounds": 3,
        "kernel_samples": 12,
        "kernel_seeds": 2,
    }


@pytest.fixture(scope="package")
def results(small):
    return plain_numbers(EXPERIMENT, small)
