"""Standard output and error: any text in any encoding, and nothing stopped by their loss."""

import errno
import io
import sys

import pytest
from cases.commands import SMALL_STUDY, invoke, process, results

from gatentk.cli.streams import Steady, fitting, loss, steady

TEXT = "7.89 × 10⁵, 10⁻¹², 3.4°, ≥ 5, κ = λmax/λmin, caf\udce9, 日"


def test_ascii_has_plain_words_for_what_it_lacks():
    shown = "7.89 x 10^5, 10^-12, 3.4 degrees, >= 5, kappa = lambdamax/lambdamin, caf\\xe9, \\u65e5"
    assert fitting(TEXT, "ascii") == shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "koi8-r", "utf-16"])
def test_any_text_goes_through_any_encoding(encoding):
    below = io.TextIOWrapper(io.BytesIO(), encoding)
    stream = Steady(below)
    stream.write(TEXT)
    stream.flush()
    assert below.buffer.getvalue().decode(encoding) == fitting(TEXT, encoding)
    assert fitting("plain", encoding) == "plain"
    assert stream.encoding == encoding


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), ""),
        (OSError(errno.ENOSPC, "No space left"), "what was to be shown could not be written: [Errno 28] No space left"),
        (ValueError("I/O operation on closed file"), "what was to be shown could not be written: I/O operation on"),
    ],
)
@pytest.mark.parametrize("when", ["write", "flush"])
def test_a_stream_that_is_lost_is_quiet_from_then_on(failure, said, when):
    calls = []

    class Lost(io.StringIO):
        def flush(self):
            calls.append("flush")
            if when == "flush":
                raise failure

        def write(self, text):
            calls.append("write")
            if when == "write":
                raise failure
            return len(text)

    stream = Steady(Lost())
    assert loss([stream]) is None
    for _ in range(3):
        assert stream.write("text") == 4
        stream.flush()
    assert calls in (["write"], ["write", "flush"])
    assert loss([stream]).startswith(said)
    assert loss([stream]) or not said


def test_streams_are_put_back(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # closed by the shell
    before = sys.stderr
    with steady() as streams:
        assert sys.stdout is None
        assert streams == [sys.stderr]
        print("into nothing")
    assert sys.stderr is before


def test_binary_output_is_refused_as_by_other_text_streams():
    with pytest.raises(TypeError, match="str"):
        Steady(io.StringIO()).write(b"x")


# Whole commands


def test_a_command_ends_well_in_any_encoding(tmp_path):
    from click.testing import CliRunner

    from gatentk import cli

    arguments = ["ntk", *SMALL_STUDY, "--width", "inf", "--out", str(tmp_path)]
    for charset in ("ascii", "latin-1", "utf-8"):
        outcome = CliRunner(charset=charset).invoke(cli.main, arguments)
        assert outcome.exit_code == 0, outcome.output
        assert "Smallest angle, digits" in outcome.output
    assert results(tmp_path)["records"]


def test_a_reader_that_goes_away_loses_words_only(tmp_path):
    arguments = ["ntk", *SMALL_STUDY, "--width", "inf", "--out", tmp_path]
    assert process(arguments, "| true; exit ${PIPESTATUS[0]}") == (1, "")
    assert results(tmp_path)["records"]


def test_words_that_a_full_disk_takes_are_said_to_be_lost():
    code, output = process(["--help"], "> /dev/full")
    said = "Error: what was to be shown could not be written: [Errno 28] No space left on device\n"
    assert (code, output) == (1, said)


def test_closed_streams_are_no_files(tmp_path):
    code, _ = process(["ntk", *SMALL_STUDY, "--width", "inf", "--out", tmp_path], ">&- 2>&- <&-")
    assert code == 0
    names = {path.name for path in tmp_path.iterdir()}
    code, _ = process(["--version"], "> /dev/null 2>&-")
    assert code == 0
    assert "results.json" in names
    assert b"Smallest" not in (tmp_path / "records.jsonl").read_bytes()


def test_help_ends_well_whatever_the_terminal_is():
    assert invoke("--help").exit_code == 0
