"""Whatever is typed, a command ends in a few lines with a documented exit code, and never in a traceback."""

import re

import numpy as np
import pytest
from cases.argument_lists import BASES, NOT_UTF8, argument_lists
from click.testing import CliRunner
from hypothesis import given, settings

from gatentk import papers
from gatentk.bench import run as bench_run
from gatentk.cli import demo
from gatentk.cli.main import COMMANDS, main
from gatentk.reporting import figures
from gatentk.study.config import StudyConfig

EXIT_CODES = {0, 1, 2}
LONGEST = 12  # lines of an error: usage, a hint, the message, warnings before it


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder of small files to run in, and no run that takes long."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "folder").mkdir()
    few = "a,b,label\n1,2,0\n3,5,1\n2,9,0\n4,4,1\n5,1,0\n"
    for name, text in {
        "few.csv": few,
        NOT_UTF8: few,
        "empty.csv": "",
        "words.csv": "a,b\nx,y\n",
        "huge.csv": "1e308,-1e308\n1e-320,0\n5e307,1\n",
        "broken.npy": "\x93NUMPY\x01",
    }.items():
        (folder / name).write_text(text)
    np.save(folder / "few.npy", np.arange(12.0).reshape(4, 3) ** 2)
    small = {"a": StudyConfig("csv:few.csv", width=8, depths=(0, 1), seeds=1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(demo, "configurations", lambda: small)
        patch.setattr(papers, "NAMES", ("angles",))
        patch.setattr(bench_run, "measure_all", lambda *_: iter(()))
        patch.setattr(figures, "render", lambda figure, kind: b"<svg></svg>")  # drawing has its own tests
        yield folder


def check(words):
    outcome = CliRunner().invoke(main, words, prog_name="gatentk")
    shown = f"{words!r}: {outcome.exit_code}\n{outcome.output}"
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), shown
    assert outcome.exit_code in EXIT_CODES, shown
    assert "Traceback" not in outcome.output, shown
    assert not outcome.exit_code or outcome.stderr, shown
    outcome.output.encode()
    if "\nOptions:\n" in outcome.output:  # a help text
        return
    assert outcome.stderr.count("\n") <= LONGEST, shown
    if outcome.exit_code:
        assert re.search(r"^(Error|Warning): .{8,}", outcome.stderr, re.MULTILINE), shown


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("workshop")
class TestArgumentLists:
    """Lists as hypothesis makes them."""

    @settings(max_examples=150)
    @given(argument_lists())
    def test_some(self, words):
        check(words)

    @pytest.mark.slow
    @settings(max_examples=10_000)
    @given(argument_lists())
    def test_ten_thousand(self, words):
        check(words)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_what_the_lists_start_from_succeeds(self, name, tmp_path):
        elsewhere = ["--out", str(tmp_path / "new")] if "--out" in BASES[name] else []
        outcome = CliRunner().invoke(main, [name, *BASES[name], *elsewhere], prog_name="gatentk")
        assert outcome.exit_code == (2 if name == "bench" else 0), outcome.output
