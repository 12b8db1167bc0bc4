"""Pages of docs/ that name tests in tables, and whether what they name is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def cells(page, beginning):
    """The cells of the table rows of a page of docs/ that begin so."""
    lines = [line for line in (ROOT / "docs" / page).read_text().splitlines() if line.startswith(beginning)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(texts):
    """All tests that some texts name, sorted."""
    return sorted({test for text in texts for test in re.findall(r"`(tests/[^`]*)`", text)})


def check(test):
    """Fail unless a file has the test of that name."""
    path, *inside = test.split("::")
    body = ast.parse((ROOT / path).read_text()).body
    for name in inside:
        (node,) = [one for one in body if isinstance(one, (ast.FunctionDef, ast.ClassDef)) and one.name == name]
        body = node.body
    assert inside
