"""That times of tiny networks are taken as described, not how long they are, and how well gates agree."""

import math

import torch
from cases.experiments import plain_numbers_of

from gatentk.papers.speed import EXPERIMENT, cells


def test_every_variant_is_timed_in_every_round(results, small):
    for width in small["widths"]:
        training = results[f"training width {width}"]
        assert set(training["seconds"]) == {"dense", *cells.TRAINING}
        counted = {rows: results[f"inference width {width} rows {rows}"] for rows in small["rows"]}
        for times, rounds in ((training, 2), (counted[1], 10), (counted[16], 2)):
            for seconds in times["seconds"].values():
                assert len(seconds) == rounds
                assert min(seconds) > 0
        assert set(counted[1]["seconds"]) == {"dense", *cells.INFERENCE}


def test_networks_that_share_gates_are_timed_beside_dense_ones(results, small):
    for width in small["widths"]:
        found = results[f"blocks of {min(cells.BLOCK, width)} width {width}"]
        assert set(found["training"]["seconds"]) == {"dense", "blocks"}
        for rows, rounds in ((1, 10), (16, 2)):
            seconds = found["inference"][str(rows)]["seconds"]
            assert set(seconds) == {"dense", "blocks", "blocks-new"}
            assert all(len(times) == rounds and min(times) > 0 for times in seconds.values())


def test_variants_take_turns_after_a_call_that_is_not_counted():
    calls = []
    seconds = cells.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert [len(times) for times in seconds.values()] == [3, 3]


def test_the_ratio_is_the_median_of_ratios_of_the_same_round():
    # The machine was half as fast in the second round; a ratio of medians would be 2.
    assert cells.Times({"dense": [1.0, 20.0, 3.0], "x": [1.0, 2.0, 3.0]}).speedup("x") == 1.0
    assert cells.Times({"dense": [4.0, 2.0, 8.0], "x": [1.0, 1.0, 2.0]}).speedup("x") == 4.0


def test_networks_that_are_compared_are_the_same():
    x = cells.samples("digits", 8)
    gnet, rnet, table = cells._networks(x, 16, 2)
    for first, second in zip(gnet.weights, rnet.weights, strict=True):
        assert torch.equal(first, second)
    before = [weight.detach().clone() for weight in gnet.weights]
    cells._step(gnet, x, torch.zeros(8, cells.OUTPUTS), table)
    assert all(torch.equal(a, b) for a, b in zip(before, gnet.weights, strict=True))
    assert all(bool(weight.grad.any()) for weight in gnet.weights)


def test_skipping_inputs_changes_nothing_but_rounding(results, small):
    assert all(
        results[f"inference width {width} rows {rows}"]["difference"] < 1e-5
        for width in small["widths"]
        for rows in small["rows"]
    )


def test_numbers_that_are_not_times_are_those_of_the_seed(results, small):
    for key in results:
        if key.startswith("agreement"):
            assert plain_numbers_of(EXPERIMENT, small, key) == results[key]


def test_agreement_is_above_coin_flipping_and_better_on_real_data(results, small):
    for width in small["widths"]:
        for model in ("relu", "grelu"):
            found = results[f"agreement digits {model} width {width}"]
            assert found["rank"] == max(1, round(math.sqrt(width) / 2))
            assert all(0.6 < value <= 1 for value in found["agreement"])
            assert math.isfinite(found["error"])
        isotropic = results[f"agreement isotropic grelu width {width}"]
        assert isotropic["agreement"][0] < results[f"agreement digits grelu width {width}"]["agreement"][0]
