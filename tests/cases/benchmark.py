"""Rows and measurements of the benchmark."""

from __future__ import annotations

from dataclasses import replace

import torch

from gatentk.bench.case import Case, Work
from gatentk.bench.cases import CASES
from gatentk.bench.process import Request
from gatentk.bench.run import Measurement

NAMES = [case.name for case in CASES]


def request_of(value: float) -> Request:
    return Request("infinite", {"x": torch.full((2, 3), value, dtype=torch.float64)}, 1)


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def measurement(**changes: object) -> Measurement:
    case = replace(CASES[0], name="one", at_least=3.0, aim=5.0)
    blank = Measurement(
        case=case,
        work=Work(dense=8e9, performed=2e9),
        ours=(1.0, 2.0, 3.0),
        peer=(8.0, 9.0, 6.0),
        peer_name="closed form",
        versions={"jax": "0.4.28"},
        difference=1e-15,
        peak=4e9,
        notes=("a note",),
    )
    return replace(blank, **changes)


class FakeClock:
    """Ours takes 2 ms, every peer 1 ms more than the one before."""

    def __init__(self, ours):
        self.ours, self.calls = ours, []

    def seconds(self, evaluate):
        self.calls.append(evaluate)
        return 2e-3 if evaluate is self.ours else 3e-3

    def peak(self, case):
        return 0.0
