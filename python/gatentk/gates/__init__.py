"""Activation patterns as bits: the gate network that draws them and the table that keeps them, in memory or a file."""

from gatentk.gates.index import Index
from gatentk.gates.network import GateNetwork
from gatentk.gates.samples import NumberedSamples
from gatentk.gates.table import GateTable
from gatentk.ops import GateLayer

__all__ = ["GateLayer", "GateNetwork", "GateTable", "Index", "NumberedSamples"]
