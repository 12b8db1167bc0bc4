"""What results.json and results.csv hold."""

import csv
import io
import json

import pytest
from cases.studies import finished

from gatentk.study.folder import write
from gatentk.study.result import SCHEMA, document_text, table_text
from gatentk.study.run import FIELDS, StudyRecord


@pytest.fixture(scope="module")
def synthetic():
    """More samples than features: linear networks are not resolved."""
    return finished(data="synthetic", n=30, subset=12)


def test_csv_and_json_hold_every_record(tmp_path, synthetic):
    write(tmp_path, synthetic)
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["schema"] == SCHEMA
    assert document["data"]["samples"] == 30
    assert [StudyRecord(**entry) for entry in document["records"]] == synthetic.records
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(synthetic.records)
    for row, expected in zip(rows, synthetic.records, strict=True):
        assert row["resolved"] == ("true" if expected.resolved else "false")
        assert row["condition"] == ("" if expected.condition is None else repr(expected.condition))
        assert (float(row["lmin"]), float(row["min_angle"])) == (expected.lmin, expected.min_angle)
        assert float(row["condition_bound"]) == expected.condition_bound


def test_unresolved_values_are_null_beside_their_bound(synthetic):
    entries = json.loads(document_text(synthetic))["records"]
    unresolved = [entry for entry in entries if not entry["resolved"]]
    assert unresolved
    assert all(e["condition"] is None and e["condition_bound"] >= e["lmax"] / e["floor"] * 0.99 for e in unresolved)


def test_csv_text_of_no_records_is_a_header():
    assert list(csv.reader(io.StringIO(table_text([])))) == [list(FIELDS)]
