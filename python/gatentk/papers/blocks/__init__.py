"""What gates that neighbouring neurons share cost and save: loss and accuracy against time, beside dense ReLU.

Losses are those of the seeds; times are of the machine and the load that they were measured under. Steps of all
networks of a data set take turns, and medians over rounds are the time of all their trainings: so it is no matter what
else the machine did while one of them was trained.
"""

from gatentk.papers.blocks.experiment import EXPERIMENT

__all__ = ["EXPERIMENT"]

SUMMARY = "what gates of blocks cost and save: loss and accuracy against time"
PLACE = 120
