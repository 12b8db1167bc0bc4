"""Examples in docstrings run, and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import gatentk

FEWEST = 25
COMPILED = {"_core", "_cuda"}
NAMES = [module.name for module in pkgutil.walk_packages(gatentk.__path__, "gatentk.")]
NAMES = ["gatentk", *(name for name in NAMES if name.rpartition(".")[2] not in COMPILED)]


def examples(name: str) -> list[doctest.DocTest]:
    """One a docstring."""
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [test for test in found if test.examples]


TESTS = [test for name in NAMES for test in examples(name)]


@pytest.mark.parametrize("test", TESTS, ids=[test.name for test in TESTS])
def test_example_prints_what_it_says(test):
    report: list[str] = []
    assert doctest.DocTestRunner().run(test, out=report.append).failed == 0, "".join(report)


def test_there_are_enough_examples():
    assert len(TESTS) >= FEWEST
