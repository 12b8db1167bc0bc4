"""docs/theory.md: what it names is there, and no reference of the sources to the papers is missing in it."""

import importlib
import re

import pytest
from cases import named_tests

SOURCES = sorted((named_tests.ROOT / "python" / "gatentk").rglob("*.py"))

KIND = r"(?:Eq|Fig|Thm|Table|Lemma|Cor|Prop|Remark|Sec)"
NUMBER = r"(?:[A-Z]\.)?\d+(?:\.\d+)?[a-c]?"
NUMBERS = rf"{KIND}s?\.? {NUMBER}(?:(?:-|, | and |, and ){NUMBER})*"  # "Thm 4.1, 4.4", "Eq. 9-10"
LIST = rf"{NUMBERS}(?:, {NUMBERS})*"


def numbered(text):
    """Each of a list as a kind and a number: "Thm 4.1, 4.4, Eq. 1-2" has four."""
    for part in re.finditer(NUMBERS, text):
        kind = re.match(KIND, part[0])[0]
        for first, last in re.findall(rf"({NUMBER})(?:-({NUMBER}))?", part[0]):
            yield from (f"{kind} {n}" for n in (range(int(first), int(last) + 1) if last else [first]))


def references(text):
    """Those in "[S, Thm 4.1; G, Thm 1]", "[S], Thm 4.1 and 4.4" and "Table 1 of [G]"."""
    text = re.sub(r"\s+", " ", text)
    found = set()
    for bracket in re.findall(r"\[((?:S|G)\b[^\]]*)\]", text):
        found |= {(part[0], item) for part in bracket.split("; ") for item in numbered(part)}
    for paper, items in re.findall(rf"\[(S|G)\],? ({LIST})", text):
        found |= {(paper, item) for item in numbered(items)}
    for items, paper in re.findall(rf"({LIST}) of \[(S|G)\]", text):
        found |= {(paper, item) for item in numbered(items)}
    return found


ROWS = named_tests.cells("theory.md", "| [")  # the place in a paper, what it says, code, tests
NAMES = sorted({name for row in ROWS for name in re.findall(r"`(gatentk[\w.]*)`", row[2])})
TESTS = named_tests.names(row[3] for row in ROWS)


def test_references_are_read_in_all_their_forms():
    assert references("[S, Fig. 1, Thm 4.1, 4.4, Prop. A.1]") == {
        ("S", "Fig 1"),
        ("S", "Thm 4.1"),
        ("S", "Thm 4.4"),
        ("S", "Prop A.1"),
    }
    assert references("[G, Lemmas 1-3; S, Thm 5.1]") == {*(("G", f"Lemma {i}") for i in (1, 2, 3)), ("S", "Thm 5.1")}
    assert references("[S; G, Thm 1]") == {("G", "Thm 1")}
    assert references("([S], Thm 4.1\n    and 4.4, in") == {("S", "Thm 4.1"), ("S", "Thm 4.4")}
    assert references("bounds of Table 1 of [G]") == {("G", "Table 1")}
    assert references("Generic[S, N], [G, Fig. 2b, 2c]") == {("G", "Fig 2b"), ("G", "Fig 2c")}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_names_code_and_a_test_or_says_why_not(row):
    place, statement, code, tests = row
    assert references(place)
    assert statement
    if not code.startswith("not coded: "):
        assert re.search(r"`gatentk\.", code)
        assert re.search(r"`tests/", tests)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name):
    module, attributes = name, []
    while True:
        try:
            value = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, attribute = module.rpartition(".")
            attributes.insert(0, attribute)
    for attribute in attributes:
        value = getattr(value, attribute)


@pytest.mark.parametrize("test", TESTS)
def test_every_test_is_there(test):
    named_tests.check(test)


def test_every_reference_of_the_sources_has_a_row():
    known = {reference for row in ROWS for reference in references(row[0])}
    missing = {
        f"{path.relative_to(named_tests.ROOT)}: [{paper}, {item}]"
        for path in SOURCES
        for paper, item in references(path.read_text())
        if (paper, item) not in known
    }
    assert missing == set()
