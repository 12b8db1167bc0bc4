"""Numbers, times and names in words; tables and documents as text."""

import json
import math
import os
import subprocess

import pytest

from gatentk.reporting.text import (
    csv_text,
    data_name,
    duration,
    given,
    json_text,
    number,
    printable,
    reason,
    shell_line,
)


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
    ("seconds", "text"),
    [
        (0.02, "less than a second"),
        (1.2, "1 second"),
        (90, "90 seconds"),
        (1800, "30 minutes"),
        (7199, "120 minutes"),
        (9000, "2 hours"),
        (1e6, "12 days"),
    ],
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("caf\udce9.csv", "caf\\xe9.csv"),
        ("é 日.csv", "é 日.csv"),
        ("a\nb\x1b[1m", "a\\nb\\x1b[1m"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_nobody_can_write_is_shown_as_python_does(name, text):
    assert printable(name) == text
    assert data_name(f"csv:x/{name}") == f"csv:{text}"
    printable(name).encode()


@pytest.mark.parametrize("word", ["a b", "it's", "caf\udce9's.csv", "a\nb\\c", "日\udcff", "", "$mine", "~x"])
def test_a_shell_reads_the_words_of_a_line_as_they_were(word):
    line = shell_line(["printf", "%s", word])
    line.encode()
    output = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert output == os.fsencode(word)


def test_reasons_are_one_short_line():
    assert reason(KeyError("x")) == "KeyError: 'x'"
    assert reason(MemoryError()) == "MemoryError"
    text = reason(RuntimeError("a\n\nb" + 1000 * "x"))
    assert text.startswith("RuntimeError: a bxxx")
    assert len(text) == 200


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.05, "0.05"),
        (300.0, "300"),
        (1e-6, "10⁻⁶"),
        (2.5e7, "2.5 × 10⁷"),
        (-3e-9, "-3 × 10⁻⁹"),
        (0, "0"),
        (1e-3, "0.001"),
    ],
)
def test_chosen_numbers_are_as_they_were_chosen(value, text):
    assert given(value) == text
