"""What is trained at which scale, and what is remarked."""

import pytest
from cases.experiments import findings_of

from gatentk.data import loading
from gatentk.errors import DataError
from gatentk.papers.blocks import EXPERIMENT
from gatentk.papers.frame.experiment import Scale


def test_full_scale_has_all_kinds_at_all_widths():
    settings = EXPERIMENT.settings(Scale(full=True))
    networks = settings.tasks["mnist"].networks
    assert {(n.kind, n.width, n.block) for n in networks if n.kind != "relu"} == {
        (kind, width, block)
        for kind in ("deep", "shallow", "centred")
        for width in (512, 1024, 2048, 4096)
        for block in (1, 8, 16, 32, 64)
    }
    for task in settings.tasks.values():
        assert {network.width for network in task.having("relu")} == {network.width for network in task.networks}
    memory, seconds = EXPERIMENT.needs(settings)
    assert memory > 4 * 4 * 3 * 4096**2
    assert seconds > 600


def test_data_sets_that_are_not_there_are_left_out(monkeypatch, small, results):
    load = loading.load

    def without(name, **options):
        if name == "fashion-mnist":
            raise DataError("no such files")
        return load(name, **options)

    monkeypatch.setattr("gatentk.data.load", without)
    settings = EXPERIMENT.settings(Scale())
    assert settings.missing == {"fashion-mnist": "no such files"}
    assert "fashion-mnist" not in settings.tasks
    remarks = findings_of(EXPERIMENT, small, results).remarks
    assert "Left out: fashion-mnist. It needs its files." in remarks


def test_a_folder_that_holds_no_such_data_set_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        EXPERIMENT.settings(Scale(paths={"fashion-mnist": tmp_path}))


def test_remarks_name_rates_at_an_end_of_the_grid(results, small):
    remarks = findings_of(EXPERIMENT, small, results).remarks
    assert any(remark.startswith("digits: the best learning rate is at an end of the grid for") for remark in remarks)
