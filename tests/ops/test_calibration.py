"""The calibration: measured once, read by every process, never wrong in more than speed."""

import itertools
import json
import subprocess
import sys
import time

import pytest
import torch

from gatentk import ops
from gatentk.ops import calibration
from gatentk.ops.calibration import KINDS, SAMPLES, TYPICAL, WAYS

F32 = torch.float32
FIGURES = {way: [[0.25, 0.5]] * len(SAMPLES) for way in WAYS}


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A folder for the calibration, which nobody has looked at yet."""
    monkeypatch.delenv("GATENTK_CALIBRATION")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calibration.forget()
    yield tmp_path
    calibration.forget()


@pytest.fixture
def measured(monkeypatch):
    """What is measured, instead of a measurement."""
    asked = []
    monkeypatch.setattr(calibration, "measure", lambda kind, dtype: asked.append((kind, dtype)) or FIGURES)
    return asked


def test_off_holds_everywhere(measured):
    calibration.forget()
    assert [calibration.ratios(kind, F32) for kind in KINDS] == [TYPICAL[kind] for kind in KINDS]
    assert not measured


def test_a_product_is_measured_once_and_stored(cache, measured):
    for _ in range(2):
        calibration.forget()  # as another process
        assert calibration.ratios("forward", F32) == FIGURES
        assert calibration.ratios("forward", F32) == FIGURES
        assert calibration.ratios("weight_gradient", torch.float64) == FIGURES
    assert measured == [("forward", F32), ("weight_gradient", torch.float64)]
    path = calibration.default_path()
    assert path.parent == cache / "gatentk"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert set(calibration.read(path)[0]) == {"float32 forward", "float64 weight_gradient"}


def test_each_instruction_set_has_a_file(cache, isa):
    assert calibration.subject()["isa"] == isa
    before = torch.get_num_threads()
    paths = {calibration.default_path()}
    torch.set_num_threads(before + 1)
    paths.add(calibration.default_path())
    torch.set_num_threads(before)
    assert len(paths) == 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"subject": 1, "ratios": {}}',
        b'{"subject": {}, "until": {}, "ratios": {"float32 forward": 1}}',
    ],
)
def test_a_damaged_file_is_made_anew_and_a_named_one_refused(cache, measured, monkeypatch, text):
    path = calibration.default_path()
    path.parent.mkdir()
    path.write_bytes(text)
    assert calibration.ratios("forward", F32) == FIGURES
    assert calibration.read(path)[0] == {"float32 forward": FIGURES}
    named = cache / "mine.json"
    monkeypatch.setenv("GATENTK_CALIBRATION", str(named))
    named.write_bytes(text)
    calibration.forget()
    if text.startswith(b'{"subject": 1'):
        return  # nothing in it is wrong, but something missing
    with pytest.raises(ValueError, match=r"^GATENTK_CALIBRATION: expected a file of a calibration"):
        calibration.ratios("forward", F32)
    assert named.read_bytes() == text


@pytest.mark.parametrize("ratio", [0, -1, "x", None, float("nan"), float("inf"), [1.0]])
def test_ratios_that_are_none_are_no_calibration(cache, measured, ratio):
    path = calibration.default_path()
    path.parent.mkdir()
    wrong = json.loads(calibration.content({"float32 forward": FIGURES}, {}))
    wrong["ratios"]["float32 forward"]["neurons"][1][0] = ratio
    path.write_text(json.dumps(wrong))
    assert calibration.ratios("forward", F32) == FIGURES
    assert measured


def test_a_named_file_counts_wherever_it_was_measured(cache, measured, monkeypatch):
    named = cache / "there" / "mine.json"
    monkeypatch.setenv("GATENTK_CALIBRATION", str(named))
    assert calibration.ratios("forward", F32) == FIGURES
    other = json.loads(named.read_text())
    other["subject"] = {"processor": "another"}
    named.write_text(json.dumps(other))
    calibration.forget()
    assert calibration.ratios("forward", F32) == FIGURES
    assert len(measured) == 1


def test_what_could_not_be_measured_holds_for_a_day(cache, monkeypatch):
    asked = []
    monkeypatch.setattr(calibration, "measure", lambda *what: asked.append(what))
    for _ in range(2):
        calibration.forget()
        assert calibration.ratios("forward", F32) == TYPICAL["forward"]
    assert len(asked) == 1
    tomorrow = time.time() + 90000
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    calibration.forget()
    assert calibration.ratios("forward", F32) == TYPICAL["forward"]
    assert len(asked) == 2


def test_a_folder_that_cannot_be_used_leaves_the_figures_in_memory(cache, measured, monkeypatch):
    (cache / "gatentk").write_text("a file")
    for _ in range(2):
        assert calibration.ratios("forward", F32) == FIGURES
    assert len(measured) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert calibration.default_path() is None
    calibration.forget()
    assert calibration.ratios("forward", F32) == FIGURES


def test_another_process_that_measures_is_waited_for(cache, measured, monkeypatch):
    path = calibration.default_path()
    held = calibration.FolderLock(path.parent)

    def finish(_):
        path.write_bytes(calibration.content({"float32 forward": TYPICAL["forward"]}, {}))
        held.close()

    monkeypatch.setattr(time, "sleep", finish)
    assert calibration.ratios("forward", F32) == TYPICAL["forward"]
    assert not measured


@pytest.mark.parametrize("kind", KINDS)
def test_a_measurement_gives_a_ratio_for_every_way(kind, monkeypatch):
    """The seed of nobody moves."""
    monkeypatch.setattr(calibration, "_WIDTHS", {F32: (64,) * len(SAMPLES)})
    monkeypatch.setattr(calibration, "_SECONDS", 0.0)
    monkeypatch.setattr(calibration, "_interruptions", lambda: 0)
    state = torch.get_rng_state()
    found = calibration.measure(kind, F32)
    assert calibration._checked(found) == found
    assert all(half <= all_on for rows in found.values() for half, all_on in rows)
    assert torch.equal(torch.get_rng_state(), state)
    # Each look at the count finds more of them.
    monkeypatch.setattr(calibration, "_interruptions", itertools.count().__next__)
    assert calibration.measure(kind, F32) is None


def test_interruptions_are_those_of_all_threads_of_this_process():
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    assert before <= calibration._interruptions() <= resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def test_where_the_system_does_not_tell_of_interruptions_there_are_none(monkeypatch):
    monkeypatch.setattr(calibration, "resource", None)
    assert calibration._interruptions() == 0


RUN = """
import torch
from gatentk import ops
z = torch.ones(600, 1024)
bits = ops.pack_bits(torch.ones(600, 1024, dtype=torch.bool))
ops.masked_linear(z, z[:1].expand(1024, 1024), bits)
print(ops.calibration.ratios("forward", torch.float32))
"""


@pytest.mark.slow
def test_processes_that_start_together_choose_the_same(cache):
    command = [sys.executable, "-c", RUN]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate(timeout=120)[0] for process in processes}
    assert len(answers) == 1
    assert ops.isa() in calibration.default_path().read_text()
