"""Default settings, and files of the user's."""

from pathlib import Path

import pytest

from gatentk.errors import DataError
from gatentk.papers.frame.experiment import Scale
from gatentk.papers.training_depth import EXPERIMENT


def test_default_settings_and_files_of_the_user(source):
    scale = Scale(paths={"mnist": source})
    found = EXPERIMENT.settings(scale)
    assert found.sets["mnist"].source == "npy"
    assert found.sets["mnist"].n == 60
    assert found.sets["digits"].outputs == 10
    assert len(EXPERIMENT.cells(found)) == 2 * 10 * (len(found.factors) + 1)
    memory, seconds = EXPERIMENT.needs(found)
    assert memory < 2e9
    assert seconds > 0
    with pytest.raises(DataError, match="nowhere"):
        EXPERIMENT.settings(Scale(paths={"mnist": Path("nowhere.npz")}))
