"""Trainings are repeatable, and their distances are those of the weights."""

import pytest
import torch
from cases.theorems import SMALL

from gatentk import ntk
from gatentk.papers.bounds import training
from gatentk.papers.bounds.problem import network, scaled_ackley
from gatentk.papers.bounds.training import Distances, Training, distances
from gatentk.train.linearisation import Linearisation


def test_training_is_repeated_bit_for_bit(results):
    cell = next(training.cells(SMALL))
    assert cell.compute(SMALL) == results[cell]


def test_the_numbers_are_those_of_the_kernel_at_the_start(results):
    cell = Training(4, 3, 48, 1)
    x, _ = scaled_ackley(4, 48)
    values = torch.linalg.eigvalsh(ntk.empirical(network(4, 48, 3, 1), x))
    assert results[cell].lmin == pytest.approx(float(values[0]))
    assert results[cell].lmax == pytest.approx(float(values[-1]))


def test_steps_to_smaller_losses_are_more(results):
    for cell in training.cells(SMALL):
        run = results[cell]
        known = [steps for steps in run.iterations if steps is not None]
        assert known == sorted(known)
        assert run.converged == (len(known) == len(SMALL.training.targets))


def test_nothing_has_moved_at_the_start():
    x, _ = scaled_ackley(4, 16)
    net = network(4, 16, 2, 0)
    gates = net.gate_table(x)
    linear, K = Linearisation(net, x, gates), ntk.empirical(net, x)
    outputs = net(x, gates=gates).detach()
    start = distances(net, x, linear, K, outputs)
    assert start == Distances(drift=0.0, linearised=pytest.approx(0, abs=1e-14), tau=0.0)
    with torch.no_grad():
        net.weights[1].mul_(1.5)
    moved = distances(net, x, linear, K, net(x, gates=gates).detach())
    assert moved.tau == pytest.approx(float(torch.linalg.matrix_norm(linear.weights[1], ord=2)) / 2)
    assert moved.drift > 0.1
    assert moved.linearised == pytest.approx(0, abs=1e-12)  # the outputs are linear in the weights of one layer


def test_the_largest_of_two_distances_is_that_of_each():
    assert Distances(1.0, 5.0, 3.0).largest(Distances(2.0, 4.0, 3.5)) == Distances(2.0, 5.0, 3.5)


def test_trainings_at_the_sufficient_width(results):
    by_n = training.at_sufficient_width(SMALL, results)
    assert list(by_n) == [4, 6]
    assert by_n[6] == [results[Training(6, 3, 108, seed)] for seed in range(2)]
