"""Numbers, times and names in words; tables and documents as text."""

import json
import math

import pytest

from gatentk.reporting.text import csv_text, data_name, duration, json_text, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (5.371, "5.37"),
        (0.01234, "0.0123"),
        (9.996, "10.0"),
        (7750.4, "7,750"),
        (99949.0, "99,900"),
        (99950.1, "1.00 × 10⁵"),
        (2.514e12, "2.51 × 10¹²"),
        (1.5e-7, "1.50 × 10⁻⁷"),
    ],
)
def test_numbers_for_people(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1800, "30 minutes"), (7199, "120 minutes"), (9000, "2 hours"), (1e6, "12 days")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("name", "text"), [("digits", "digits"), ("csv:/home/me/x.csv", "csv:x.csv")])
def test_names_of_files_lose_their_folders(name, text):
    assert data_name(name) == text


def test_tables_are_quoted_where_they_must_be_and_empty_where_there_is_no_value():
    assert csv_text(["a", "b"], [[1, "x, y"], [None, 0.1]]) == 'a,b\n1,"x, y"\n,0.1\n'
    assert csv_text(["a"], []) == "a\n"


def test_documents_hold_finite_numbers_only():
    assert json.loads(json_text({"a": [1, None]})) == {"a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        json_text({"a": math.inf})
