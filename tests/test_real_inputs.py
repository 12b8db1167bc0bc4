"""docs/real-inputs.md: every kind of input has reports and tests, and the tests are there with all their cases."""

import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from cases import named_tests

ROWS = named_tests.cells("real-inputs.md", "| **")
COUNTED = dict(pair for row in ROWS for pair in re.findall(r"`(tests/[^`]*)` \((\d+)\)", row[4]))
LINK = re.compile(r"\[([\w.-]+/[\w.-]+)#(\d+)\]\(https://github\.com/\1/(?:issues|pull)/\2\)")


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip("*") for row in ROWS])
def test_a_kind_has_reports_and_tests(row):
    _, wrong, here, reports, tests = row
    assert wrong
    assert here
    assert reports == ", ".join(link[0] for link in LINK.finditer(reports)) != ""
    assert tests == ", ".join(f"`{test}` ({COUNTED[test]})" for test in re.findall("`(.*?)`", tests)) != ""


def test_no_kind_is_there_twice():
    assert Counter(row[0] for row in ROWS).most_common(1)[0][1] == 1


@pytest.mark.parametrize("test", sorted(COUNTED))
def test_every_test_is_there(test):
    named_tests.check(test)


@pytest.mark.slow
def test_every_test_has_as_many_cases():
    """All tests are collected by a process of their own, whatever this one was asked to run."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider"]
    listed = subprocess.run(
        [*command, *sorted({test.split("::")[0] for test in COUNTED})],
        cwd=named_tests.ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0, listed.stdout + listed.stderr
    found = Counter(line.split("[")[0] for line in listed.stdout.splitlines() if "::" in line)
    fewer = {test: found[test] for test, count in COUNTED.items() if found[test] < int(count)}
    assert fewer == {}
