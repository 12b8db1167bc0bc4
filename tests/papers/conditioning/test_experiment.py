"""Data sets that are there or not, files of the user's, and what the largest kernel takes."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from cases.experiments import settings_of

from gatentk.errors import DataError
from gatentk.papers.conditioning.experiment import EXPERIMENT, LAPTOP, SPEED, describe
from gatentk.papers.frame.experiment import Scale


def test_features_of_the_user_are_read_and_a_missing_file_is_an_error(tmp_path):
    features = torch.randn(30, 12, generator=torch.Generator().manual_seed(0)).numpy()
    np.save(tmp_path / "speech.npy", features)
    chosen = describe("librispeech", None, tmp_path / "speech.npy", LAPTOP)
    assert (chosen.source, chosen.n, chosen.features, chosen.batch) == ("npy", 30, 12, 6)
    with pytest.raises(DataError, match="SVHN"):
        describe("svhn", None, tmp_path, LAPTOP)


def test_what_is_not_there_is_left_out(monkeypatch):
    def only_synthetic(name, n, path, limits):
        if name != "synthetic":
            raise DataError(f"{name}: not here")
        return describe("synthetic", 20, None, limits)

    monkeypatch.setattr("gatentk.papers.conditioning.experiment.describe", only_synthetic)
    found = EXPERIMENT.settings(Scale())
    assert list(found.sets) == ["synthetic"]
    assert found.missing["fashion-mnist"] == "fashion-mnist: not here"
    assert "librispeech" in EXPERIMENT.settings(Scale(full=True)).missing
    with pytest.raises(DataError, match="not here"):
        EXPERIMENT.settings(Scale(paths={"svhn": Path("nowhere")}))


def test_needs_grow_with_the_largest_kernel(settings):
    larger = copy.deepcopy(settings)
    larger["sets"]["digits"]["rows"]["all"] = 20_000
    assert EXPERIMENT.needs(settings_of(EXPERIMENT, larger))[0] > 2 * 8 * 20_000**2
    small = settings_of(EXPERIMENT, settings)
    costs = [cell.cost(small) for cell in EXPERIMENT.cells(small)]
    assert EXPERIMENT.needs(small)[1] == pytest.approx(sum(costs) / SPEED)
    assert min(costs) > 0
