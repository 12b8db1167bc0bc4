"""Width n^2 L fits all seeds; claims follow the numbers."""

import copy

import pytest
from cases.experiments import defaults, findings_of, plain_numbers, settings_of

from gatentk.papers import width_law
from gatentk.papers.frame.experiment import Scale
from gatentk.reporting.figures import render

EXPERIMENT = width_law.EXPERIMENT


def tiny():
    settings = defaults(EXPERIMENT)
    settings["config"] |= {"n": 6, "depth": 2}
    return settings | {"features": 12, "powers": [0.5, 1.0], "steps": 120, "zero": 1e-3, "seeds": 2}


@pytest.fixture(scope="module")
def done():
    settings = tiny()
    return settings, plain_numbers(EXPERIMENT, settings)


def claims(settings, results):
    return findings_of(EXPERIMENT, settings, results).claims


def test_all_seeds_converge_at_width_n2_l(done):
    settings, results = done
    runs = [results[f"grelu p = 1 kernel seed {seed}"] for seed in range(settings["seeds"])]
    assert all(r["losses"][-1] <= settings["zero"] and not r["diverged"] for r in runs)
    assert claims(settings, results)[1].agrees is True


def test_a_cell_is_gradient_descent_with_the_step_that_it_names(done):
    settings, results = done
    numbers = results["relu p = 0.5 theorem seed 1"]
    config = settings_of(EXPERIMENT, settings).training("relu", 8)
    begun = width_law.trainings.start(config, 1)
    x, y = begun.train.x, begun.train.targets
    rate, losses = 12 / (6**4 * 2**3), []
    for _ in range(6):
        weights = list(begun.network.weights)
        loss = (begun.network(x) - y).square().sum() / 2
        losses.append(float(loss.detach()))
        for weight in weights:
            weight.grad = None
        loss.backward()
        for weight in weights:
            weight.data -= rate * weight.grad
    assert numbers["losses"][:6] == pytest.approx([loss / losses[0] for loss in losses], rel=1e-4)


def test_claims_follow_the_numbers(done):
    settings, results = done
    changed = copy.deepcopy(results)
    changed["grelu p = 1 kernel seed 0"]["losses"][-1] = 0.5
    theorem, figure = claims(settings, changed)[1], claims(settings, changed)[3]
    assert theorem.agrees is False
    assert "1 of 2 seeds" in theorem.outcome
    assert figure.agrees is False

    for seed in range(2):
        for name in ("nL", "p = 0.5"):
            changed[f"grelu {name} kernel seed {seed}"] |= {"losses": [1.0, 0.5], "diverged": False}
        changed[f"grelu p = 1 kernel seed {seed}"] |= {"losses": [1.0, 1e-9], "diverged": False}
        changed[f"grelu p = 1 theorem seed {seed}"]["stability"] = 2.5
    assert claims(settings, changed)[3].agrees is True
    assert claims(settings, changed)[-1].agrees is False


def test_the_figures_show_the_worst_seed_at_p_1_and_the_best_below():
    runs = [
        width_law.Losses([1.0, 1e-6], diverged=False, stability=1.0),
        width_law.Losses([1.0, 0.2], diverged=False, stability=1.0),
        width_law.Losses([1.0, 0.1], diverged=True, stability=1.0),
    ]
    settings = settings_of(EXPERIMENT, tiny())
    assert width_law._shown(settings, runs, worst=True) is runs[2]
    assert width_law._shown(settings, runs, worst=False) is runs[0]


def test_findings_are_complete(done):
    settings, results = done
    findings = findings_of(EXPERIMENT, settings, results)
    (table,) = findings.tables
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert len(table.rows) == 2 * 2 * 3
    assert [render(plot.figure, "svg")[:5] for plot in findings.draw()] == [b"<?xml"] * 2


def test_the_published_size_says_what_it_needs():
    settings = EXPERIMENT.settings(Scale(full=True))
    memory, seconds = EXPERIMENT.needs(settings)
    assert max(settings.widths.values()) == 40_000
    assert memory > 4 * 4 * 40_000**2 * 4  # weights, their gradients, a step and the gates' weights, of four layers
    assert seconds > 3600
    assert EXPERIMENT.needs(EXPERIMENT.settings(Scale()))[1] < 600
