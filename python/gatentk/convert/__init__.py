"""Conversion between GReLU and ReLU networks, low-rank predictors of gates, and ReLU networks that skip zeros."""

from gatentk.convert.exact import ConversionReport, LayerFit, grelu_to_relu, relu_to_grelu
from gatentk.convert.low_rank import GatePrediction, LowRankReport, low_rank_gates
from gatentk.convert.onnx_file import save_onnx
from gatentk.convert.plain_forms import to_torch
from gatentk.convert.predicted_gates import LowRankGated
from gatentk.convert.predicted_sequences import LowRankSequential
from gatentk.convert.zeros import skip_zeros

__all__ = [
    "ConversionReport",
    "GatePrediction",
    "LayerFit",
    "LowRankGated",
    "LowRankReport",
    "LowRankSequential",
    "grelu_to_relu",
    "low_rank_gates",
    "relu_to_grelu",
    "save_onnx",
    "skip_zeros",
    "to_torch",
]
