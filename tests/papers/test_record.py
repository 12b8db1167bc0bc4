"""The journal of an experiment, and what results.json, the tables, the plots and the page hold."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import gatentk
from gatentk.papers import record
from gatentk.papers.experiment import Cell, Scale, Table
from gatentk.papers.record import JOURNAL, Journal, PaperError, Result

from .toy import Toy

CELL = Cell("cell 0", 1.0, {"index": 0})


@pytest.fixture
def toy():
    return Toy()


def finished(toy, scale=None):
    """The result of an experiment without a folder."""
    scale = scale or Scale()
    settings = toy.settings(scale)
    cells = toy.cells(settings)
    numbers = json.loads(json.dumps({cell.key: toy.compute(settings, cell) for cell in cells}))
    return Result(toy, scale, settings, numbers, {cell.key: 0.5 for cell in cells}, {"gatentk": "x", "cpu": "<y>"})


# The journal


def test_what_is_appended_is_there_when_the_journal_is_opened_again(toy, tmp_path):
    with Journal(tmp_path, toy, {"a": 1}) as journal:
        assert journal.numbers == {}
        journal.append(CELL, {"value": 0.1}, 2.5)
        assert (journal.numbers, journal.seconds) == ({"cell 0": {"value": 0.1}}, {"cell 0": 2.5})
    with Journal(tmp_path, toy, {"a": 1}) as journal:
        assert (journal.numbers, journal.seconds) == ({"cell 0": {"value": 0.1}}, {"cell 0": 2.5})


def test_numbers_are_the_same_whether_computed_now_or_read_back(toy, tmp_path):
    with Journal(tmp_path, toy, {}) as journal:
        journal.append(CELL, {"pair": (1, None), "by": {3: 0.1 + 0.2}}, 1.0)
        now = dict(journal.numbers)
    with Journal(tmp_path, toy, {}) as journal:
        assert now == journal.numbers == {"cell 0": {"pair": [1, None], "by": {"3": 0.30000000000000004}}}


def test_numbers_that_are_not_finite_are_refused(toy, tmp_path):
    with Journal(tmp_path, toy, {}) as journal:
        with pytest.raises(ValueError, match="JSON"):
            journal.append(CELL, {"value": float("nan")}, 1.0)
        assert journal.numbers == {}
    assert (tmp_path / JOURNAL).read_text().count("\n") == 1


@pytest.mark.parametrize("torn", ['{"cell": "cell 1", "sec', '{"cell": "cell 1", "seconds": 1, "numbers": {}}', "\x00"])
def test_a_torn_last_line_is_forgotten(toy, tmp_path, torn):
    with Journal(tmp_path, toy, {}) as journal:
        journal.append(CELL, {"value": 1}, 1.0)
    with open(tmp_path / JOURNAL, "a") as file:
        file.write(torn)
    with Journal(tmp_path, toy, {}) as journal:
        assert list(journal.numbers) == ["cell 0"]
        journal.append(Cell("cell 1", 1.0, {}), {"value": 2}, 1.0)
    with Journal(tmp_path, toy, {}) as journal:
        assert journal.numbers == {"cell 0": {"value": 1}, "cell 1": {"value": 2}}


def test_a_torn_first_line_is_a_new_start(toy, tmp_path):
    (tmp_path / JOURNAL).write_text('{"paper": "to')
    with Journal(tmp_path, toy, {"a": 1}) as journal:
        assert journal.numbers == {}
    with pytest.raises(PaperError):
        Journal(tmp_path, toy, {"a": 2})


@pytest.mark.parametrize(
    ("name", "settings", "different"),
    [("toy", {"a": 2}, "settings"), ("tea", {"a": 1}, "paper"), ("tea", {}, "paper and settings")],
)
def test_a_folder_of_other_numbers_is_refused_and_kept(toy, tmp_path, name, settings, different):
    with Journal(tmp_path, toy, {"a": 1}) as journal:
        journal.append(CELL, {"value": 1}, 1.0)
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(PaperError, match=f"another {different}; choose another folder with --out, or --restart"):
        Journal(tmp_path, Toy(name), settings)
    assert (tmp_path / JOURNAL).read_bytes() == before
    with Journal(tmp_path, toy, {"a": 1}) as journal:  # the refusal has released the file
        assert journal.numbers == {"cell 0": {"value": 1}}


def test_a_folder_of_another_version_is_refused(toy, tmp_path, monkeypatch):
    Journal(tmp_path, toy, {}).__exit__(None, None, None)
    monkeypatch.setattr(gatentk, "__version__", "99.0")
    with pytest.raises(PaperError, match="another version"):
        Journal(tmp_path, toy, {})


def test_restart_forgets_what_is_there(toy, tmp_path):
    with Journal(tmp_path, toy, {"a": 1}) as journal:
        journal.append(CELL, {"value": 1}, 1.0)
    with Journal(tmp_path, toy, {"a": 2}, restart=True) as journal:
        assert journal.numbers == {}
    with Journal(tmp_path, toy, {"a": 2}) as journal:
        assert journal.numbers == {}


@pytest.mark.parametrize("restart", [False, True])
def test_two_processes_do_not_write_to_one_folder(toy, tmp_path, restart):
    with Journal(tmp_path, toy, {}) as journal:
        with pytest.raises(PaperError, match="another gatentk is writing"):
            Journal(tmp_path, toy, {}, restart=restart)
        journal.append(CELL, {"value": 1}, 1.0)
    with Journal(tmp_path, toy, {}) as journal:
        assert list(journal.numbers) == ["cell 0"]


# The files


def test_all_files_are_written(toy, tmp_path):
    page = record.write(tmp_path, finished(toy))
    assert page == tmp_path / "report.html"
    names = {"results.json", "toy-values.csv", "toy-long.csv", "toy-plot.png", "toy-plot.svg", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "toy-plot.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert b"<svg" in (tmp_path / "toy-plot.svg").read_bytes()


def test_the_same_numbers_give_the_same_files(toy, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        record.write(tmp_path / name, finished(Toy()))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_results_hold_every_number_and_where_it_came_from(toy):
    result = finished(toy)
    document = json.loads(record.json_text(result))
    assert document["schema"] == record.SCHEMA
    assert [document[name] for name in ("name", "title", "source")] == [toy.name, toy.title, toy.source]
    for name in ("settings", "numbers", "seconds", "environment"):
        assert document[name] == getattr(result, name)
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
    record.write(tmp_path, finished(toy))
    with open(tmp_path / "toy-values.csv", newline="") as file:
        rows = list(csv.reader(file))
    values = [numbers["value"] for numbers in finished(toy).numbers.values()]
    assert rows[0] == ["cell", "value", "large", "note"]
    assert [float(row[1]) for row in rows[1:]] == values
    assert [row[3] for row in rows[1:]] == ["text, with comma", "", ""]
    assert record.csv_text(Table("t", "t", ["a"], [])) == "a\n"


class Page(HTMLParser):
    """Text and ids of a page, with every element closed as it was opened."""

    VOID = frozenset({"meta", "br", "path", "use"})

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.ids, self.links, self.tags = [], "", [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name == "href"]

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "defs"):
            self.text += data


def test_the_page_says_what_was_claimed_and_what_came_out(toy):
    result = finished(toy)
    html = record.html([result], toy.title)
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    text = re.sub(r"\s+", " ", page.text)
    assert toy.title in text  # and not as markup
    for claim in result.findings.claims:
        assert f"{claim.statement} {claim.source}" in text
        verdict = {True: "Agrees.", False: "Does not agree.", None: "Not decided here."}[claim.agrees]
        assert f"{verdict} {claim.outcome}" in text
    assert "Values <by> cell." in text
    assert "One <remark>." in text
    assert "text, with comma" in text
    assert "Long one" not in text  # 100 rows are for the CSV file
    assert "toy-long.csv" in text
    assert "gatentk paper toy --out DIR" in text
    assert "<y>" in text
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", html)  # nothing is loaded


def test_one_page_for_several_has_an_index_and_no_clashing_ids(toy):
    results = [finished(toy), finished(Toy("second"))]
    page = Page(record.html(results, "All"))
    assert len(set(page.ids)) == len(page.ids)
    assert {"#toy", "#second"} <= set(page.links)
    assert {"toy", "second"} <= set(page.ids)
    assert page.tags.count("section") == 2
    assert "#toy" not in Page(record.html(results[:1], "One")).links


def test_references_inside_the_plots_lead_somewhere(toy):
    html = record.html([finished(toy), finished(Toy("second"))], "All")
    ids = set(re.findall(r'id="([^"]+)"', html))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= ids
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= ids
