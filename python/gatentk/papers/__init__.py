"""The results of the two papers, recomputed: one module per figure, table or group of theorems.

A module of this package is an experiment if it has a SUMMARY (its line in the help of `gatentk paper`), a PLACE among
the others, and an EXPERIMENT. It is named as its module, with hyphens.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatentk.papers.frame.registry import discover

if TYPE_CHECKING:
    from gatentk.papers.frame.experiment import Experiment

EXPERIMENTS = discover(Path(__file__).parent)
NAMES = tuple(EXPERIMENTS)


def experiment(name: str) -> Experiment[Any]:
    """The experiment of that name.

    Raises:
        ValueError: there is none; the message lists them.
    """
    from gatentk.checks import check_choice

    check_choice("name", name, NAMES)
    module = import_module(f"gatentk.papers.{EXPERIMENTS[name].module}")
    experiment: Experiment[Any] = module.EXPERIMENT
    return experiment


def listing() -> str:
    """A line for each experiment: its name and its summary."""
    width = max(map(len, NAMES))
    return "\n".join(f"{entry.name:{width}}  {entry.summary}" for entry in EXPERIMENTS.values())
