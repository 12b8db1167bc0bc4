"""Time of training and inference of GReLU against ReLU networks by width, and gates of low rank: [G, Sec. 4.4].

Cells hold times, so a run on another machine, or another run on this one, gives other numbers: the seeds fix networks
and samples, not times. Variants take turns, and what is compared are ratios of times of the same round.
"""

from gatentk.papers.speed.experiment import EXPERIMENT

__all__ = ["EXPERIMENT"]

SUMMARY = "training and inference time of GReLU against ReLU"
PLACE = 90
