"""Minimal gradient angle and condition number by depth, ReLU against linear networks: [S, Fig. 2], and by width."""

from gatentk.papers.conditioning.experiment import EXPERIMENT

__all__ = ["EXPERIMENT"]

SUMMARY = "minimal angle and condition number by depth"
PLACE = 20
