"""Experiments are found by the constants of their modules."""

from gatentk.papers.frame.registry import Entry, discover


def test_modules_and_packages_with_a_summary_and_a_place_are_experiments(tmp_path):
    (tmp_path / "__init__.py").write_text('SUMMARY = "the package"\nPLACE = 1\n')
    (tmp_path / "deep_law.py").write_text('import nowhere\n\nSUMMARY = "a law: deep"\nPLACE = 20\nOTHER = 3\n')
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide" / "__init__.py").write_text('SUMMARY = "wide"\nPLACE = 10\n')
    (tmp_path / "wide" / "cells.py").write_text('SUMMARY = "not one"\nPLACE = 5\n')
    (tmp_path / "tools.py").write_text('PLACE = 5\nSUMMARY = "computed".title()\n')
    (tmp_path / "notes.txt").write_text('SUMMARY = "text"\nPLACE = 1\n')
    (tmp_path / "__pycache__").mkdir()
    assert discover(tmp_path) == {
        "wide": Entry("wide", "wide", "wide", 10),
        "deep-law": Entry("deep-law", "deep_law", "a law: deep", 20),
    }
    assert list(discover(tmp_path)) == ["wide", "deep-law"]
