"""Neural tangent kernels: infinite and finite width, and the angles between gradients."""

from gatentk.ntk.angles import angles_from_kernel, embedding_angles, gradient_angles, min_angle
from gatentk.ntk.empirical import empirical
from gatentk.ntk.given_gates import given_gates
from gatentk.ntk.infinite import infinite, infinite_sweep
from gatentk.ntk.operator import NTKOperator, operator

__all__ = [
    "NTKOperator",
    "angles_from_kernel",
    "embedding_angles",
    "empirical",
    "given_gates",
    "gradient_angles",
    "infinite",
    "infinite_sweep",
    "min_angle",
    "operator",
]
