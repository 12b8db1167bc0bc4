"""The results of the two papers, recomputed: one module per figure, table or group of theorems."""

from __future__ import annotations

from importlib import import_module

from gatentk.checks import check_choice
from gatentk.papers.experiment import Experiment

# In the order of a report of all of them; each module holds an `EXPERIMENT`.
NAMES = (
    "angles",
    "conditioning",
    "training-depth",
    "width-law",
    "dynamics",
    "image-regression",
    "switch",
    "rates",
    "speed",
    "bounds",
    "grelu-conditioning",
)


def experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        ValueError: there is none; the message lists them.
    """
    check_choice("name", name, NAMES)
    found: Experiment = import_module(f"gatentk.papers.{name.replace('-', '_')}").EXPERIMENT
    return found
