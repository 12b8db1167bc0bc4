"""Gated layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import check_dtype, check_integer
from gatentk.gates.weights import gaussian
from gatentk.nn.conversion import ConvertibleModule


class GReLULinear(ConvertibleModule):
    """One layer of a gated network: `gate_out o (W (gate_in o z))`, which visits only what the gates leave on.

    Gates come with every call, as bits or as layers of a gate table. `gatentk.nn.GatedLinear` computes its own.

    Args:
        in_features, out_features: sizes.
        generator: source of W, drawn from N(0, 2/in_features); torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.
        device: where W is drawn and lies, "meta" for its shape alone; torch's default if left out.

    Attributes:
        weight: Parameter (out_features, in_features).
        method: "auto", "masked" or "dense", as in `gatentk.ops.masked_linear`.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown dtype.

    >>> import torch
    >>> import gatentk as gt
    >>> layer = gt.nn.GReLULinear(3, 2, dtype=torch.float64)
    >>> on = gt.ops.pack_bits(torch.tensor([[False, True]]))
    >>> y = layer(torch.ones(1, 3, dtype=torch.float64), gate_out=on)
    >>> y[0, 0].item()
    0.0
    >>> torch.allclose(y[0, 1], layer.weight[1].sum())
    True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_integer("in_features", in_features, 1)
        self.out_features = check_integer("out_features", out_features, 1)
        self.method = "auto"
        sizes, dtype = (self.out_features, self.in_features), check_dtype(dtype)
        self.weight = nn.Parameter(gaussian(*sizes, 2 / self.in_features, generator, dtype, device))

    def forward(self, z: Tensor, gate_in: ops.Gate = None, gate_out: ops.Gate = None) -> Tensor:
        """Outputs (..., n, out_features) of (..., n, in_features).

        Args:
            z: of the weight's dtype; its exact zeros are skipped if `gate_in` is left out.
            gate_in: packed bits (..., n, row bytes) of `z`, or a layer of a gate table; one of both gates may be left
                out.
            gate_out: the same for the outputs; those that are off are exact zeros.

        Raises:
            TypeError, ValueError: shapes or dtypes that do not fit each other, no gates at all.
        """
        if gate_in is None and gate_out is None:
            raise ValueError(
                "gate_in, gate_out: expected gates of the inputs, of the outputs or of both, got None; without gates "
                "the layer is linear, which torch.nn.Linear is for; gatentk.nn.GatedLinear computes gates of its own"
            )
        return ops.masked_linear(z, self.weight, gate_in, gate_out, self.method)

    def extra_repr(self) -> str:
        """Sizes, as in the constructor."""
        return f"in_features={self.in_features}, out_features={self.out_features}"
