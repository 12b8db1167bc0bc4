"""Bits of gates: packed, applied to values, and counted where two samples share them."""

from __future__ import annotations

import torch

from gatentk import ops
from gatentk.bench import torch_peers
from gatentk.bench.case import Case, Evaluation, Job, Shape, Work, gaussian, random_mask, tensor


def _pack_bits(case: Case) -> Job:
    import numpy as np

    mask = random_mask(case, 0.5, case.shape.n, case.shape.width)
    peers: dict[str, Evaluation] = {
        "packbits": lambda: torch.from_numpy(np.packbits(mask.numpy(), axis=-1, bitorder="little"))
    }
    if case.device == "cuda":
        peers = {"shifts and sums": lambda: torch_peers.pack_bits(mask)}
    return Job(ours=lambda: ops.pack_bits(mask), work=Work(0, 0, 9 / 8 * mask.numel()), peers=peers)


def _gate_rows(case: Case) -> Job:
    mask = random_mask(case, 0.5, case.shape.n, case.shape.width)
    values, bits = gaussian(case, *mask.shape), ops.pack_bits(mask)
    return Job(
        ours=lambda: ops.gate_rows(values, bits),
        work=Work(0, 0, 2 * case.dtype.itemsize * mask.numel() + bits.numel()),
        peers={"torch.where": lambda: torch.where(mask, values, 0)},
    )


def _gate_gram(case: Case) -> Job:
    mask = random_mask(case, 0.5, case.shape.n, case.shape.width)
    bits, ones = ops.pack_bits(mask), mask.float()
    return Job(
        ours=lambda: tensor(ops.gate_gram(bits)),
        work=Work(2 * case.shape.n**2 * case.shape.width, 0, bits.numel() + 4 * case.shape.n**2),
        peers={"unpacked masks": lambda: ones @ ones.T},
    )


PACK_BITS = Case(
    name="pack-bits",
    family="pack_bits",
    ours="ops.pack_bits",
    peer="numpy.packbits",
    packages=("numpy",),
    shape=Shape(n=50000, width=4096),
    quick=Shape(n=300, width=256),
    dtype=torch.bool,
    prepare=_pack_bits,
)

GATE_ROWS = Case(
    name="gate-rows-f32",
    family="gate_rows",
    ours="ops.gate_rows, gates at 50%",
    peer="torch.where of the mask",
    shape=Shape(n=8192, width=4096),
    quick=Shape(n=130, width=200),
    dtype=torch.float32,
    prepare=_gate_rows,
)

GATE_GRAM = Case(
    name="gate-gram",
    family="gate_gram",
    ours="ops.gate_gram, gates at 50%",
    peer="float32 product of the unpacked masks",
    shape=Shape(n=4000, width=4096),
    quick=Shape(n=130, width=200),
    dtype=torch.uint8,
    prepare=_gate_gram,
    at_least=30,
    aim=60,
)
