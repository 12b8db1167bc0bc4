"""[G, Lemmas 1-3, Eq. 9-10]: what a step of gradient descent does to the outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from gatentk import ntk
from gatentk.papers.bounds.problem import SMALL, descend, network, scaled_ackley
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim
from gatentk.reporting.text import given, number
from gatentk.spectra import spectrum
from gatentk.train.trainable import copied_weights, set_weights


@dataclass(frozen=True)
class StepNumbers:
    """What steps do to one network.

    Attributes:
        remainders: |change of the outputs + step K residual| / |residual|, by step.
        identity: relative difference of the layerwise kernel and that of the Jacobians.
    """

    remainders: list[float]
    identity: float


@dataclass(frozen=True)
class OneStep(Cell[Settings, StepNumbers]):
    """Single steps of several sizes from the same start."""

    KEY = "step seed {seed}"

    seed: int

    def cost(self, settings: Settings) -> float:
        """Tenths of a second."""
        return SMALL

    def compute(self, settings: Settings) -> StepNumbers:
        """The change of the outputs against -step K residual."""
        part = settings.step
        x, labels = scaled_ackley(part.samples, part.width)
        net = network(part.samples, part.width, part.depth, self.seed)
        start = copied_weights(net)
        gates = net.gate_table(x)
        K = ntk.empirical(net, x)
        jacobian = ntk.empirical(net, x, method="jacobian")
        lmax = float(spectrum(K).lmax)
        remainders = []
        for factor in part.factors:
            outputs = net(x, gates=gates)
            residual = (outputs - labels).detach()
            descend(net, outputs, labels, factor / lmax)
            with torch.no_grad():
                change = net(x, gates=gates) - outputs
                remainders.append(float((change + factor / lmax * (K @ residual)).norm() / residual.norm()))
            set_weights(net, start)
        return StepNumbers(remainders, identity=float((K - jacobian).norm() / K.norm()))


def cells(settings: Settings) -> Iterator[OneStep]:
    """A cell for each seed."""
    return map(OneStep, range(settings.step.seeds))


def claims(settings: Settings, results: Results) -> list[Claim]:
    """That the identities hold, and that the remainder is of second order."""
    networks = [results[cell] for cell in cells(settings)]
    identity = max(r.identity for r in networks)
    quotients = [a / b for r in networks for a, b in pairwise(r.remainders)]
    return [
        Claim(
            "[G, Lemmas 1-3, Eq. 9-10]",
            "One step of gradient descent changes the outputs by -step K (y - label), K = sum_k <G x, G x'> <F, F'>, "
            "up to a remainder of second order in the step.",
            f"K agrees with products of Jacobians to {number(identity, 2)} relative; halving the step divides the "
            f"remainder by {number(min(quotients))} to {number(max(quotients))} (4 for the second order), and at "
            f"{given(settings.step.factors[0])}/lambda_max it is up to {max(r.remainders[0] for r in networks):.2%} of "
            "the error.",
            identity < 1e-10 and all(3 < q < 5 for q in quotients),
        )
    ]
