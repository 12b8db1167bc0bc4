"""What results.json and the tables hold."""

import csv
import json
from pathlib import Path

import pytest
from cases.experiments import Toy, finished

from gatentk.papers.frame.experiment import Scale
from gatentk.papers.frame.plain import plain
from gatentk.papers.frame.result import SCHEMA, document_text
from gatentk.papers.frame.run import write


@pytest.fixture
def toy():
    return Toy()


def test_results_hold_every_number_and_where_it_came_from(toy):
    result = finished(toy)
    document = json.loads(document_text(result))
    assert document["schema"] == SCHEMA
    assert [document[name] for name in ("name", "title", "source")] == [toy.name, toy.title, toy.source]
    for name in ("settings", "numbers", "seconds", "environment"):
        assert document[name] == json.loads(json.dumps(plain(getattr(result, name))))
    assert [claim["agrees"] for claim in document["claims"]] == [True, False, None]
    assert set(document["claims"][0]) == {"source", "statement", "outcome", "agrees"}


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (Scale(), "gatentk paper toy --out DIR"),
        (Scale(full=True), "gatentk paper toy --full --out DIR"),
        (Scale(True, {"cifar10": Path("my data")}), "gatentk paper toy --full --path 'cifar10=my data' --out DIR"),
    ],
)
def test_results_name_the_command_that_repeats_them(toy, scale, words):
    assert finished(toy, scale).command == words


def test_tables_are_csv(toy, tmp_path):
    write(tmp_path, finished(toy))
    with open(tmp_path / "toy-values.csv", newline="") as file:
        rows = list(csv.reader(file))
    values = [numbers.value for numbers in finished(toy).numbers.values()]
    assert rows[0] == ["cell", "value", "large", "note"]
    assert [float(row[1]) for row in rows[1:]] == values
    assert [row[3] for row in rows[1:]] == ["text, with comma", "", ""]
