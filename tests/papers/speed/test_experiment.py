"""What the published size takes."""

from gatentk.papers.frame.experiment import Scale
from gatentk.papers.speed import EXPERIMENT


def test_full_scale_states_what_it_takes():
    memory, seconds = EXPERIMENT.needs(EXPERIMENT.settings(Scale(full=True)))
    assert memory > 3 * 4 * 16384**2
    assert seconds > 600
