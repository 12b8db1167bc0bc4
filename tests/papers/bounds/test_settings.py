"""The sizes that are written to the journal, and the trainings that they stand for."""

import json

from gatentk.papers.bounds.settings import at_scale
from gatentk.runs.plain import to_json


def test_settings_are_written_as_json():
    written = json.loads(json.dumps(to_json(at_scale(full=False))))
    assert list(written) == [
        *("table", "training", "step", "literal", "spectra", "gates", "decay", "kernels", "pair", "norms")
    ]
    assert written["decay"] == {"depth": 100}
    assert written["kernels"]["data"][0] == ["gaussian", 20, 400]
    assert written["kernels"]["data"][-1] == ["mnist", 200, None]
    assert list(written["training"]) == [
        *("samples", "depths", "widths", "iteration_samples", "seeds", "targets", "steps")
    ]


def test_full_scale_is_larger():
    small, full = at_scale(full=False), at_scale(full=True)
    assert max(full.training.iteration_samples) > max(small.training.iteration_samples)
    assert max(full.training.widths) > max(small.training.widths)
    assert max(full.literal.samples) > max(small.literal.samples)


def test_every_training_is_there_once():
    training = at_scale(full=False).training
    shapes = training.shapes
    assert len(set(shapes)) == len(shapes)
    assert {(n, 4, 4 * n**2) for n in (5, 10, 20)} <= set(shapes)
    assert {(10, depth, width) for depth in (2, 4) for width in training.widths} <= set(shapes)


def test_the_middle_number_of_samples():
    assert at_scale(full=False).table.middle == 50
