"""A layer with gates of its own, in the place of a Linear and the ReLU after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import check_choice, check_dense, check_dtype, check_integer, describe
from gatentk.gates import GateNetwork
from gatentk.gates.weights import gaussian, has_values
from gatentk.nn.conversion import ConvertibleModule
from gatentk.ops.autocast import same_dtype

# Layers of the gate network before the pattern that is used.
_DEPTHS = {"shallow": 0, "deep": 1}


class GatedLinear(ConvertibleModule):
    """A layer with its gates: `gate o (W z + b)`, in the place of `nn.Linear` and the ReLU after it.

    Which blocks of outputs are on says a fixed random network of `out_features / block` units, for each sample, before
    any training: it reads the layer's input, or other features that `forward` gets as `gate_input`, such as the input
    of the whole model, which training does not change. What is off is an exact zero and costs no arithmetic, neither
    here nor, where blocks match, in a `GatedLinear` that reads it. Gradients go through z, W and b, not through the
    gates.

    Args:
        in_features, out_features: sizes.
        bias: whether there is a b.
        block: neurons that share a gate, at most `out_features`; 1 gives each its own. Wide blocks skip faster, but
            then fewer gates are independent. Small layers gain nothing: docs/skipping.md says where they do.
        kind: "shallow", gates are half-spaces of their features, `C' x > 0`; "deep", those of a hidden layer more,
            `Psi relu(C' x) > 0`.
        center: (features of the gates), taken from them before C'; their mean over the data makes gates most
            different from each other. Nothing is taken if left out.
        gate_features: how many features `gate_input` has; `in_features` if left out.
        generator: source of W and the gates; torch's global one if left out.
        dtype: float32 or float64; torch's default if left out.
        device: where the weights are drawn and lie, "meta" for shapes alone; torch's default if left out.

    Attributes:
        weight: Parameter W, (out_features, in_features), N(0, 2/in_features).
        bias: Parameter b, (out_features), zeros; or None.
        gate_net: the `GateNetwork`; its dtype and values stay as they are when the layer is converted, so that gates
            stay the same.
        method: "auto", "masked" or "dense", as in `gatentk.ops.masked_linear`.

    Raises:
        TypeError, ValueError: sizes that are no positive integers, a block wider than the layer, an unknown kind or
            dtype, a center of another length or not finite.

    >>> import torch
    >>> import gatentk as gt
    >>> layer = gt.nn.GatedLinear(16, 64, block=32, generator=torch.Generator().manual_seed(0))
    >>> y = layer(torch.randn(5, 7, 16, generator=torch.Generator().manual_seed(1)))
    >>> y.shape
    torch.Size([5, 7, 64])
    >>> [bool((block == 0).all()) for block in y[0, 0].split(32)]
    [False, True]
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        block: int = 32,
        kind: str = "shallow",
        center: Tensor | None = None,
        gate_features: int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_integer("in_features", in_features, 1)
        self.out_features = check_integer("out_features", out_features, 1)
        if not isinstance(bias, bool):
            raise TypeError(f"bias: expected a bool, got {describe(bias)}")
        if check_integer("block", block, 1) > self.out_features:
            raise ValueError(f"block: expected at most out_features={self.out_features}, got {block}")
        depth = _DEPTHS[check_choice("kind", kind, tuple(_DEPTHS))]
        features = self.in_features if gate_features is None else check_integer("gate_features", gate_features, 1)
        self.method = "auto"
        dtype = check_dtype(dtype)
        weight = gaussian(self.out_features, self.in_features, 2 / self.in_features, generator, dtype, device)
        self.weight = nn.Parameter(weight)
        zeros = torch.zeros(self.out_features, dtype=dtype, device=device) if bias else None
        self.register_parameter("bias", None if zeros is None else nn.Parameter(zeros))
        self.gate_net = GateNetwork(
            features,
            self.out_features,
            depth,
            generator,
            dtype,
            block=block,
            kind=kind,
            center=center,
            device=device,
        )

    @property
    def block(self) -> int:
        """Neurons that share a gate."""
        return self.gate_net.block

    @property
    def kind(self) -> str:
        """Of the gates: "shallow" or "deep"."""
        return self.gate_net.kind

    @property
    def gate_features(self) -> int:
        """What the gates read."""
        return self.gate_net.d_in

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw W, then the gate network, anew, as the constructor does, and set b to zero; a center stays.

        >>> layer = GatedLinear(4, 64, generator=torch.Generator().manual_seed(0))
        >>> before = layer.weight.clone()
        >>> layer.reset_parameters(torch.Generator().manual_seed(0))
        >>> torch.equal(layer.weight, before)
        True
        """
        drawn = [self.weight, self.gate_net.input_weight, *self.gate_net.weights]
        with torch.no_grad():
            for matrix in drawn:
                if has_values(matrix):
                    rows, columns = matrix.shape
                    matrix.copy_(gaussian(rows, columns, 2 / columns, generator, matrix.dtype, matrix.device))
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, z: Tensor, gate_input: Tensor | None = None) -> Tensor:
        """Outputs (..., out_features) of (..., in_features).

        Args:
            z: of the weight's dtype.
            gate_input: (..., gate_features) of any floating dtype, what the gates read, row by row beside z; z
                itself if left out. It gets no gradient.

        Raises:
            TypeError, ValueError: shapes or dtypes that do not fit each other.
        """
        self._check_features("z", z, self.in_features)
        if z.dtype != self.weight.dtype and not same_dtype(z, self.weight):
            raise TypeError(f"z: expected {self.weight.dtype} as the layer's weights, got {describe(z)}")
        if gate_input is None:
            if self.gate_features != self.in_features:
                raise ValueError(
                    f"gate_input: expected a tensor of {self.gate_features} features, which the gates read, got None"
                )
            gate_input = z
        else:
            self._check_features("gate_input", gate_input, self.gate_features)
            if gate_input.shape[:-1] != z.shape[:-1]:
                raise ValueError(
                    f"gate_input: expected shape {(*z.shape[:-1], self.gate_features)} beside z, got "
                    f"{describe(gate_input)}"
                )
        bits = self.gate_net.gates(gate_input.reshape(-1, self.gate_features))[-1]
        rows = z.reshape(-1, self.in_features)
        out = ops.masked_linear(rows, self.weight, None, bits, self.method, self.block, self.bias)
        return out.reshape(*z.shape[:-1], self.out_features)

    def _check_features(self, name: str, rows: object, features: int) -> None:
        if not isinstance(rows, Tensor):
            raise TypeError(f"{name}: expected a torch tensor, got {describe(rows)}")
        if rows.layout != torch.strided or rows.is_nested:
            check_dense(name, rows)
        if not rows.is_floating_point():
            raise TypeError(f"{name}: expected a floating-point tensor, got {describe(rows)}")
        if rows.dim() == 0 or rows.shape[-1] != features:
            raise ValueError(f"{name}: expected shape (..., {features}), got {describe(rows)}")

    def extra_repr(self) -> str:
        """Sizes and form, as in the constructor; the gates say the rest."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"block={self.block}, kind={self.kind!r}"
        )
