"""Operations on tensors, registered with torch: a module for each family. Only they call the compiled modules."""

from gatentk.ops import blocks as blocks  # registers its operations
from gatentk.ops.bits import expand_bits, gate_rows, pack_bits, transpose_bits, unpack_bits
from gatentk.ops.checksums import checksum
from gatentk.ops.gate_gram import gate_gram
from gatentk.ops.gram import FactorGates, gram_ntk
from gatentk.ops.infinite import NETWORK_QUANTITIES, QUANTITIES, infinite_network, infinite_ntk
from gatentk.ops.instruction_sets import available_isas, fma_peak, isa, openmp, select_isa
from gatentk.ops.layouts import ROW_ALIGNMENT, row_bytes
from gatentk.ops.masked import (
    CUDA_DTYPES,
    METHODS,
    Gate,
    masked_linear,
)
from gatentk.ops.ordered import ordered_linear
from gatentk.ops.plans import GateLayer, GateRows, build_plan
from gatentk.ops.precision import PRECISIONS as CUDA_PRECISIONS
from gatentk.ops.precision import precision as cuda_precision
from gatentk.ops.precision import select_precision as select_cuda_precision

Gates = FactorGates  # as signatures are listed in the contract of public names

__all__ = [
    "CUDA_DTYPES",
    "CUDA_PRECISIONS",
    "METHODS",
    "NETWORK_QUANTITIES",
    "QUANTITIES",
    "ROW_ALIGNMENT",
    "FactorGates",
    "Gate",
    "GateLayer",
    "GateRows",
    "Gates",
    "available_isas",
    "build_plan",
    "checksum",
    "cuda_precision",
    "expand_bits",
    "fma_peak",
    "gate_gram",
    "gate_rows",
    "gram_ntk",
    "infinite_network",
    "infinite_ntk",
    "isa",
    "masked_linear",
    "openmp",
    "ordered_linear",
    "pack_bits",
    "row_bytes",
    "select_cuda_precision",
    "select_isa",
    "transpose_bits",
    "unpack_bits",
]
