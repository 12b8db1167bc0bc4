"""ReLU against GReLU kernels by depth and gates: minimal angle, condition number, and the speed that follows."""

from gatentk.papers.grelu_conditioning.experiment import EXPERIMENT

__all__ = ["EXPERIMENT"]

SUMMARY = "ReLU against GReLU kernels"
PLACE = 110
