"""The network of [S]: all layers trained, in NTK parametrisation."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gatentk.activations import ACTIVATIONS, FUNCTIONS
from gatentk.checks import check_choice, check_dtype, check_integer


class MLP(nn.Module):
    """Fully connected network in NTK parametrisation ([S], Eq. 1-3).

    `alpha_0 = x, alpha_l = sqrt(2/width) relu(W_l alpha_{l-1}), f = W_{depth+1} alpha_depth`, all weights standard
    normal; "linear" uses the identity and sqrt(1/width). Depth 0 is the linear model `f = W_1 x`.

    Args:
        d_in, width, depth, d_out: sizes; `depth` counts hidden layers.
        activation: "relu" or "linear".
        generator: source of the weights; torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.
        device: where the weights are drawn and lie, "meta" for shapes alone; torch's default if left out.

    Attributes:
        weights: ParameterList W_1 .. W_{depth+1}; W_l has shape (width_l, width_{l-1}).

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown activation or dtype.

    >>> import torch
    >>> import gatentk as gt
    >>> net = gt.nn.MLP(3, 100, 2, generator=torch.Generator().manual_seed(0))
    >>> [tuple(weight.shape) for weight in net.weights]
    [(100, 3), (100, 100), (1, 100)]
    >>> net(torch.ones(5, 3)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        d_out: int = 1,
        activation: str = "relu",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.d_in = check_integer("d_in", d_in, 1)
        self.width = check_integer("width", width, 1)
        self.depth = check_integer("depth", depth, 0)
        self.d_out = check_integer("d_out", d_out, 1)
        self.activation = check_choice("activation", activation, FUNCTIONS)
        dtype = check_dtype(dtype)
        sizes = [self.d_in, *[self.width] * self.depth, self.d_out]
        self.weights = nn.ParameterList(
            torch.randn(rows, columns, generator=generator, dtype=dtype, device=device)
            for columns, rows in pairwise(sizes)
        )

    @property
    def scale(self) -> float:
        """Factor of every hidden layer: sqrt(2/width) for ReLU, sqrt(1/width) for linear networks.

        >>> MLP(3, 200, 2).scale, MLP(3, 100, 2, activation="linear").scale
        (0.1, 0.1)
        """
        return ACTIVATIONS[self.activation].scale(self.width)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., d_out) of inputs (..., d_in)."""
        function = ACTIVATIONS[self.activation].function
        assert function is not None
        for weight in list(self.weights)[:-1]:
            x = self.scale * function(nn.functional.linear(x, weight))
        return nn.functional.linear(x, self.weights[-1])

    def extra_repr(self) -> str:
        """Sizes, as in the constructor."""
        return (
            f"d_in={self.d_in}, width={self.width}, depth={self.depth}, d_out={self.d_out}, "
            f"activation={self.activation!r}"
        )
