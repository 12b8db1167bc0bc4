"""Data sets and sizes, those that the user brings too."""

import numpy as np
import pytest
from cases.experiments import defaults, findings_of, plain_numbers

from gatentk.errors import DataError
from gatentk.papers.frame.experiment import Scale
from gatentk.papers.grelu_conditioning import EXPERIMENT


def test_features_that_the_user_brings(tmp_path):
    path = tmp_path / "speech.npy"
    x = np.random.default_rng(0).standard_normal((12, 5))
    x[3], x[4] = 0, x[5]
    np.save(path, x)
    settings = defaults(EXPERIMENT, Scale(full=True, paths={"librispeech": path}))
    assert settings["samples"]["librispeech"] == 5000
    assert settings["missing"].keys() >= {"svhn", "cifar10"}
    settings |= {"samples": {"librispeech": 5000}, "depths": [1, 2], "width": 32, "finite_samples": 6}
    settings |= {"finite_depths": [1], "seeds": 2}
    results = plain_numbers(EXPERIMENT, settings)
    assert results["librispeech relu depth 1"]["samples"] == 10  # without the zero row and the repetition
    assert results["librispeech relu depth 1"]["steps"] is None
    findings = findings_of(EXPERIMENT, settings, results)
    assert [claim.agrees for claim in findings.claims if claim.source == "kernel regime"] == [None]
    assert any("svhn" in remark for remark in findings.remarks)
    with pytest.raises(DataError, match="data_batch_1"):
        EXPERIMENT.settings(Scale(full=True, paths={"cifar10": tmp_path}))


def test_the_default_covers_every_depth_up_to_ten():
    settings = EXPERIMENT.settings(Scale())
    assert settings.depths == tuple(range(1, 11))
    assert settings.samples == {"digits": 1797, "synthetic": 2000}
    memory, seconds = EXPERIMENT.needs(settings)
    assert 8 * 2000**2 < memory < 1e9
    assert 10 < seconds < 600
