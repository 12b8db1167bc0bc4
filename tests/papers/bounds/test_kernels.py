"""Condition numbers that are known, the bound of a pair, and claims that follow them."""

import pytest
import torch
from cases.theorems import SMALL, altered_kernels, verdict

from gatentk.papers.bounds.kernels import Kernels, pair_bound


def test_known_condition_numbers(results):
    far = results[Kernels("gaussian", 20, 400)]
    assert far["component"].condition < far["gram"].condition < 3
    assert 5 < far["depth 1"].condition < 8
    near = results[Kernels("gaussian", 20, 40)]
    conditions = [near[f"depth {d}"].condition for d in (1, 2, 5)]
    assert conditions == sorted(conditions)


def test_the_pair_bound_holds_with_equality_for_two_samples_of_one_norm():
    for kernel in Kernels("gaussian", 2, 3).compute(SMALL).values():
        assert kernel.pair_bound >= kernel.lmin * (1 - 1e-12)
    K = torch.tensor([[5.0, 2.0], [2.0, 5.0]], dtype=torch.float64)
    assert pair_bound(K) == pytest.approx(3.0)


def test_the_pair_bound_is_that_of_norms_and_angles(generator):
    X = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    bounds = []
    for i in range(5):
        for j in range(i):
            a, b = float(X[i].norm()), float(X[j].norm())
            bounds.append(2 * a**2 * b**2 * (1 - float(X[i] @ X[j]) / (a * b)) / (a**2 + b**2))
    assert pair_bound(X @ X.T) == pytest.approx(min(bounds))


@pytest.mark.parametrize(
    ("start", "kernel", "condition", "agrees"),
    [
        ("[S, Thm 5.1] At depth 1", "component", 1e6, False),
        ("[S, Thm 5.1] for all weights", "depth 1", 1.0, True),
    ],
)
def test_claims_about_condition_numbers_follow_them(numbers, start, kernel, condition, agrees):
    assert verdict(altered_kernels(numbers, "", kernel, condition=condition), start) is agrees


def test_the_claim_about_pairs_follows_the_numbers(numbers):
    bound = numbers["kernels digits 40"]["depth 2"].pair_bound
    changed = altered_kernels(numbers, "digits 40", "depth 2", pair_bound=bound * 1e-3)
    assert verdict(changed, "[S, Prop. 2.2]") is False


def test_falling_condition_numbers_would_be_said(numbers):
    changed = numbers
    for depth in SMALL.kernels.depths:
        changed = altered_kernels(changed, "", f"depth {depth}", condition=100.0 / depth)
    assert verdict(changed, "[S, Thm 5.2] for more samples") is True


def test_unresolved_kernels_are_left_out(numbers):
    changed = numbers
    for name in numbers["kernels digits 40"]:
        changed = altered_kernels(changed, "digits 40", name, condition=None)
    assert verdict(changed, "[S, Thm 5.1] At depth 1") is True
