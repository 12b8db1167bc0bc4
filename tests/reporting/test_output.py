"""Files of a finished run: numbers first, and nothing that is drawn can lose them."""

import errno
import os

import pytest

from gatentk.errors import DrawingWarning
from gatentk.reporting import figures
from gatentk.reporting.output import text_bytes, write_page, write_results

NUMBERS = {"results.json": b"{}", "results.csv": b"a\n"}


def good():
    figure, (axes,) = figures.panels([("A", "")], [("x", "y")])
    axes.plot([1, 2])
    return figure


def bad_when_rendered():
    figure = good()
    figure.axes[0].set_title("$\\nosuchcommand$", parse_math=True)
    return figure


def fails(error):
    def draw():
        raise error

    return draw


class Disk:
    """Takes files until it is full."""

    def __init__(self, room=100):
        self.files, self.room = {}, room

    def write(self, name, content):
        if len(self.files) == self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.files[name] = content


def test_numbers_are_written_before_anything_is_drawn(tmp_path):
    disk = Disk()

    def draw():
        assert disk.files == NUMBERS
        return figures.Drawn({"a.png": b"1"}, [])

    def page():
        assert "a.png" in disk.files
        return "caf\udce9"

    write_results(tmp_path, disk.write, NUMBERS, draw, {"report.html": page})
    assert disk.files == NUMBERS | {"a.png": b"1", "report.html": b"caf\\udce9"}


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Failed to process string with tex\nbecause latex could not be found"),
        UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"),
        MemoryError(),
        OSError(errno.ENOSPC, "No space left on device"),
        RecursionError("too deep"),
        KeyError("no such colour"),
        ImportError("no module"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_fails_in_drawing_is_said_in_one_line_and_loses_nothing_else(tmp_path, error):
    for draw, kept in (
        (lambda: figures.rendered(fails(error)), {"report.html"}),
        (lambda: figures.rendered(lambda: {"a": good()}), {"a.png", "a.svg"}),
    ):
        disk = Disk()
        page = fails(error) if "a.png" in kept else (lambda: "page")
        with pytest.warns(DrawingWarning, match=rf"{type(error).__name__}.*numbers are in") as caught:
            write_results(tmp_path, disk.write, NUMBERS, draw, {"report.html": page})
        (warning,) = caught
        assert "\n" not in str(warning.message)
        assert set(disk.files) == {*NUMBERS, *kept}


def test_one_plot_that_cannot_be_rendered_does_not_take_the_others_with_it():
    files, failures = figures.rendered(lambda: {"bad": bad_when_rendered(), "good": good()})
    assert set(files) == {"good.png", "good.svg"}
    (failure,) = failures
    assert failure.startswith("bad.png and bad.svg could not be drawn: ValueError: ")


def test_a_disk_that_is_full_at_any_plot_keeps_all_that_was_written(tmp_path):
    drawn = figures.Drawn({"a.png": b"1", "a.svg": b"2"}, [])
    for room in (2, 3, 4):
        disk = Disk(room)
        with pytest.warns(DrawingWarning, match="No space left on device") as caught:
            write_results(tmp_path, disk.write, NUMBERS, lambda: drawn, {"report.html": lambda: "page"})
        assert len(caught) == 5 - room
        assert len(disk.files) == room
    with pytest.raises(OSError, match="No space left"):
        write_results(tmp_path, Disk(1).write, NUMBERS, lambda: drawn)


def test_ctrl_c_is_none_of_these_failures(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_results(tmp_path, Disk().write, NUMBERS, lambda: figures.rendered(fails(KeyboardInterrupt())))


def test_a_page_about_several_runs_is_written_or_missed_alone(tmp_path):
    pages = {}
    write_page(tmp_path / "report.html", pages.__setitem__, lambda: "text")
    assert pages == {tmp_path / "report.html": b"text"}
    with pytest.warns(DrawingWarning, match=r"report.html could not be written: KeyError: 'x'; all numbers"):
        write_page(tmp_path / "report.html", pages.__setitem__, fails(KeyError("x")))


def test_text_of_any_letters_is_bytes():
    assert text_bytes("a\udce9é") == b"a\\udce9\xc3\xa9"
