"""Angles of gradients and embeddings against the closed forms, and claims that follow the numbers."""

import copy
import math

import pytest
from cases.experiments import findings_of, plain_numbers

from gatentk.papers import angles
from gatentk.papers.frame.experiment import Scale
from gatentk.reporting.figures import render

EXPERIMENT = angles.EXPERIMENT
SMALL = {
    "depths": [1, 2, 10],
    "angles": [1.0, 20.0, 45.0, 59.0, 90.0, 150.0, 180.0],
    "small_angles": [1e-6, 1e-2, 1.0],
    "iterates": [1, 2, 5],
}


@pytest.fixture(scope="module")
def results():
    return plain_numbers(EXPERIMENT, SMALL)


def g(t):
    return math.acos(min(1.0, ((math.pi - t) * math.cos(t) + math.sin(t)) / math.pi))


def gradient_angle(t, depth):
    """[S], Thm 4.4, as printed."""
    total = math.cos(t)
    for _ in range(depth):
        previous, t = t, g(t)
        total = total * (1 - previous / math.pi) + math.cos(t)
    return math.acos(total / (depth + 1))


def grelu_angle(t, depth):
    product, t = 1.0, g(t)
    first = math.cos(t)
    for _ in range(depth):
        product *= 1 - t / math.pi
        t = g(t)
    return math.acos(first * product)


def test_numbers_are_those_of_the_closed_forms(results):
    for index, degrees in enumerate(SMALL["angles"]):
        t = math.radians(degrees)
        for depth in SMALL["depths"]:
            for kind, oracle in (("relu", gradient_angle), ("grelu", grelu_angle)):
                value = results[kind]["angles"][str(depth)][index]
                assert value == pytest.approx(math.degrees(oracle(t, depth)), rel=1e-9), (kind, degrees, depth)
        embedding = t
        for layer in range(1, 6):
            embedding = g(embedding)
            if layer in SMALL["iterates"]:
                value = results["embedding"]["angles"][str(layer)][index]
                assert value == pytest.approx(math.degrees(embedding), rel=1e-9)


def test_every_theorem_holds(results):
    claims = findings_of(EXPERIMENT, SMALL, results).claims
    assert len(claims) == 5
    assert all(claim.agrees for claim in claims), [claim.outcome for claim in claims if not claim.agrees]


@pytest.mark.parametrize(
    ("kind", "table", "depth", "index", "value", "flipped"),
    [
        ("relu", "angles", "1", 1, 19.0, {0, 1}),  # below the input angle, so above it later or not
        ("relu", "angles", "2", 2, 5.0, {0, 1}),
        ("relu", "small", "2", 0, 1.0, {2}),
        ("embedding", "angles", "1", 3, 61.0, {3}),  # g(t) > t
        ("embedding", "angles", "1", 4, 10.0, {3, 4}),  # not increasing
        ("embedding", "angles", "5", 4, 89.0, {4}),
    ],
)
def test_claims_follow_the_numbers(results, kind, table, depth, index, value, flipped):
    changed = copy.deepcopy(results)
    changed[kind][table][depth][index] = value
    verdicts = [claim.agrees for claim in findings_of(EXPERIMENT, SMALL, changed).claims]
    assert {number for number, verdict in enumerate(verdicts) if verdict is False} - flipped == set()
    assert not all(verdicts)


def test_figures_and_table(results):
    findings = findings_of(EXPERIMENT, SMALL, results)
    assert [plot.name for plot in findings.draw()] == ["gradient-angles", "embedding-angles"]
    for plot in findings.draw():
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    (table,) = findings.tables
    assert {row[0] for row in table.rows} == set(SMALL["depths"])
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_both_scales_are_the_same():
    assert EXPERIMENT.settings(Scale()) == EXPERIMENT.settings(Scale(full=True))
