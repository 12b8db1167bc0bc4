"""Training speed of ReLU networks by depth, and the speed that condition numbers predict: [S, Fig. 3]."""

from gatentk.papers.training_depth.experiment import EXPERIMENT

__all__ = ["EXPERIMENT"]

SUMMARY = "training loss by depth, beside the rates that the kernel predicts"
PLACE = 30
