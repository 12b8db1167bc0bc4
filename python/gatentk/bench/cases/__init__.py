"""The one table of what is measured: shapes, sides, floating-point operations and the ratios asked for."""

from __future__ import annotations

from gatentk.bench.cases import bits, blocks, gram, infinite, machines, networks, products, skipping, spectra

CASES = (
    *infinite.CASES,
    *gram.CASES,
    *spectra.CASES,
    *machines.CASES,
    bits.PACK_BITS,
    bits.GATE_ROWS,
    *products.CASES,
    *networks.CASES,
    *blocks.CASES,
    *skipping.CASES,
    bits.GATE_GRAM,
    networks.PLAN_BUILDING,
)
