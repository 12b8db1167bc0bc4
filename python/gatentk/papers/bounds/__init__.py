"""The bounds of both papers and of the works that [G] compares with, beside measured quantities."""

from gatentk.papers.bounds.experiment import EXPERIMENT

__all__ = ["EXPERIMENT"]

SUMMARY = "the theorems' bounds beside measured quantities"
PLACE = 100
