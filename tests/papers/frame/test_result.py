"""What results.json and the tables hold."""

import csv
import json

import pytest
from cases.experiments import Toy, finished

from gatentk.papers.frame.result import SCHEMA, document_text
from gatentk.papers.frame.run import write
from gatentk.runs.plain import to_json


@pytest.fixture
def toy():
    return Toy()


def test_results_hold_every_number_and_where_it_came_from(toy):
    result = finished(toy)
    document = json.loads(document_text(result))
    assert document["schema"] == SCHEMA
    assert [document[name] for name in ("name", "title", "source")] == [toy.name, toy.title, toy.source]
    for name in ("settings", "numbers", "seconds", "environment"):
        assert document[name] == json.loads(json.dumps(to_json(getattr(result, name))))
    assert [claim["agrees"] for claim in document["claims"]] == [True, False, None]
    assert set(document["claims"][0]) == {"source", "statement", "outcome", "agrees"}


def test_results_name_what_repeats_them(toy):
    assert json.loads(document_text(finished(toy)))["command"] == "gatentk paper toy --out DIR"


def test_tables_are_csv(toy, tmp_path):
    write(tmp_path, finished(toy))
    with open(tmp_path / "toy-values.csv", newline="") as file:
        rows = list(csv.reader(file))
    values = [numbers.value for numbers in finished(toy).numbers.values()]
    assert rows[0] == ["cell", "value", "large", "note"]
    assert [float(row[1]) for row in rows[1:]] == values
    assert [row[3] for row in rows[1:]] == ["text, with comma", "", ""]
