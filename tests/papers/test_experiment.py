"""Running the cells of an experiment, and those of all experiments being what `Experiment` promises."""

import json

import pytest

from gatentk import papers
from gatentk.papers.experiment import Scale, run

from .toy import Toy


def test_cells_run_one_after_another_in_their_order():
    toy = Toy()
    settings = toy.settings(Scale())
    steps = run(toy, settings, {})
    cell, _ = next(steps)
    assert (cell.key, toy.computed) == ("cell 0", ["cell 0"])
    assert [cell.key for cell, _ in steps] == ["cell 1", "cell 2"]


def test_cells_that_are_done_are_not_computed_again():
    toy = Toy()
    settings = toy.settings(Scale())
    whole = {cell.key: numbers for cell, numbers in run(toy, settings, {})}
    toy.computed.clear()
    rest = {cell.key: numbers for cell, numbers in run(toy, settings, {"cell 1": whole["cell 1"]})}
    assert toy.computed == ["cell 0", "cell 2"]
    assert rest == {key: whole[key] for key in ("cell 0", "cell 2")}


def test_nothing_is_computed_where_all_is_done():
    toy = Toy()
    settings = toy.settings(Scale())
    assert list(run(toy, settings, {cell.key: {} for cell in toy.cells(settings)})) == []


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"name: expected one of .*'angles'.*got 'angels'"):
        papers.experiment("angels")


@pytest.mark.parametrize("name", papers.NAMES)
def test_every_experiment_is_named_and_described(name):
    found = papers.experiment(name)
    assert found.name == name
    assert found.title
    assert not found.title.endswith(".")
    assert "\n" not in found.title
    assert found.source


@pytest.mark.parametrize("name", papers.NAMES)
def test_settings_are_json_and_cells_have_keys_of_their_own(name):
    found = papers.experiment(name)
    settings = found.settings(Scale())
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings
    cells = found.cells(settings)
    assert len({cell.key for cell in cells}) == len(cells) > 0
    assert all(cell.cost > 0 for cell in cells)
    json.dumps([dict(cell.arguments) for cell in cells], allow_nan=False)
    assert found.cells(json.loads(json.dumps(settings))) == cells
    memory, seconds = found.needs(settings)
    assert memory >= 0
    assert 0 <= seconds <= 600
