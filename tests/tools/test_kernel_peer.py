"""What the comparison with neural-tangents says of differences, and that its document says no more."""

import re
from pathlib import Path

import kernel_peer
import numpy as np
import pytest
import torch

import gatentk as gt

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(kernel_peer, "N", 4)
    monkeypatch.setattr(kernel_peer, "N_TEST", 3)
    monkeypatch.setattr(kernel_peer, "DEPTHS", (1,))


def test_digits_decide_where_the_sides_differ(monkeypatch, small):
    def theirs(interpreter, what, given):
        assert (interpreter, what) == ("nt/bin/python", "grid")
        found = {}
        for activation in kernel_peer.ACTIVATIONS:
            options = {"w_std": 1.5, "b_std": 0.3, "kernel": "nngp", **kernel_peer.slope_of(activation)}
            for shape, z in (("square", None), ("rectangular", given["z"])):
                kernel = gt.ntk.infinite(given["x"], z, 1, activation, **options)
                found[f"{activation} 1 1.5 0.3 {shape} nngp"] = kernel
        found["abs 1 1.5 0.3 square nngp"][2, 2] *= 1 + 1e-8
        found["relu 1 1.5 0.3 rectangular nngp"][2, 2] += 1e-11
        return found

    monkeypatch.setattr(kernel_peer, "asked", theirs)
    found = kernel_peer.grid("nt/bin/python")
    assert found["abs"]["on the diagonal"] == pytest.approx(1e-8, rel=1e-6)
    assert found["abs"]["theirs from 60 digits"] == pytest.approx(1e-8, rel=1e-6)
    assert 0 < found["relu"]["off the diagonal"] < 1e-11
    for activation in ("abs", "relu"):
        assert found[activation]["ours from 60 digits"] < 1e-14
    for activation in ("leaky_relu", "erf", "gelu"):
        worst = found[activation]
        assert worst == dict.fromkeys(("off the diagonal", "of the entry", "on the diagonal"), 0.0)


def test_dense_layers_of_many_units_have_the_kernel_of_infinite_width():
    torch.manual_seed(0)
    x = kernel_peer.samples()["x"][:5]
    layers = [kernel_peer.Dense(8, 20000, 1.5, 0.3), torch.nn.ReLU(), kernel_peer.Dense(20000, 1, 1.5, 0.3)]
    kernel = gt.ntk.empirical(torch.nn.Sequential(*layers).double(), x)
    right = gt.ntk.infinite(x, depth=1, w_std=1.5, b_std=0.3)
    assert np.linalg.norm(kernel - right) < 0.05 * np.linalg.norm(right)


def test_every_function_of_the_page_is_compared():
    page = (ROOT / "docs" / "from_neural_tangents.md").read_text()
    tools = "".join((ROOT / "tools" / name).read_text() for name in ("kernel_peer_calls.py", "ensemble_peer.py"))
    named = set(re.findall(r"nt\.(?:predict\.)?[a-z_]\w*(?=\()", page))
    assert len(named) >= 10
    assert {name for name in named if name not in tools} == set()
