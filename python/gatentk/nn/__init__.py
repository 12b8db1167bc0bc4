"""Networks as torch modules, and their files."""

from gatentk.nn.fixed_ends import FixedEndsNetwork
from gatentk.nn.gated import GReLUNetwork
from gatentk.nn.gated_linear import GatedLinear
from gatentk.nn.layers import GReLULinear
from gatentk.nn.mlp import MLP
from gatentk.nn.pretrained import from_pretrained, save_pretrained
from gatentk.nn.relu import ReLUNetwork
from gatentk.nn.sequential import GReLUSequential

__all__ = [
    "MLP",
    "FixedEndsNetwork",
    "GReLULinear",
    "GReLUNetwork",
    "GReLUSequential",
    "GatedLinear",
    "ReLUNetwork",
    "from_pretrained",
    "save_pretrained",
]
