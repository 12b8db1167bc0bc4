"""Inference of a network whose gates low-rank factors predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.gates import GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork
from gatentk.ops.autocast import without_autocast

# Neurons that are predicted off for the whole batch are dropped where this pays. At width 4096 in float32 (AMD EPYC, 2
# cores) the dense product takes 0.24 ms a sample, gathering 90% of the weight's rows into memory in use 4 ms (into
# fresh memory 27 ms) and scattering the outputs of 512 samples 3.5 ms. A product that skips half of the inputs takes
# half of that time, so at 512 samples dropping breaks even near 10% of the neurons.
_LEAST_OFF = 0.1
_GATHER_SAMPLES = 40


class PredictedGates(nn.Module):
    """What predicts gates by factors and multiplies where they are on.

    Args:
        factors: (U_k, V_k) by the number k of a layer.

    Attributes:
        u_1, v_1, u_2, ...: buffers with the factors.
    """

    def __init__(self, factors: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        for k, (u, v) in factors.items():
            self.register_buffer(f"u_{k}", u)
            self.register_buffer(f"v_{k}", v)
        # Memory for gathered rows by their shape; lists, so that calls from several threads each take their own.
        self._rows: dict[torch.Size, list[Tensor]] = {}

    def _predict(self, k: int, z: Tensor) -> Tensor:
        u, v = self.get_buffer(f"u_{k}"), self.get_buffer(f"v_{k}")
        with without_autocast():  # gates are the same with it and without
            return nn.functional.linear(nn.functional.linear(z.to(v.dtype), v), u)

    def _product(self, z: Tensor, weight: Tensor, gate_in: ops.Gate, on: Tensor, method: str, block: int = 1) -> Tensor:
        """`on o (z @ weight.T)`, without the neurons that are off for all samples if they are many.

        `on` has a column for each block of outputs.
        """
        n, width = len(on), len(weight)
        units = on.any(0)
        rows = units.repeat_interleave(block)[:width].nonzero().squeeze(1)
        off = width - len(rows)
        if off < _LEAST_OFF * width or off * n < _GATHER_SAMPLES * len(rows):
            return ops.masked_linear(z, weight, gate_in, _gate_of(ops.pack_bits(on), width, block), method)
        pool = self._rows.setdefault(weight.shape, [])
        memory = pool.pop() if pool else weight.new_empty(0)
        # A tensor made in inference mode may not be written to outside of it.
        inference = torch.is_inference_mode_enabled()
        if (memory.shape, memory.dtype, memory.is_inference()) != (weight.shape, weight.dtype, inference):
            memory = torch.empty_like(weight)
        used = torch.index_select(weight, 0, rows, out=memory[: len(rows)])
        # All blocks but the last are whole, and stay so; it may be the only one.
        gate_out = _gate_of(ops.pack_bits(on[:, units]), len(rows), min(block, max(1, len(rows))))
        outputs = ops.masked_linear(z, used, gate_in, gate_out, method)
        pool.append(memory)
        return outputs.new_zeros(n, width).index_copy_(1, rows, outputs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": {}}

    def extra_repr(self) -> str:
        """The rank of the factors."""
        ranks = [buffer.shape[1] for name, buffer in self.named_buffers(recurse=False) if name.startswith("u_")]
        return f"rank={max(ranks)}" if ranks else "no predicted layers"


class LowRankGated(PredictedGates):
    """Inference of a network with gates that low-rank factors predict, `Psi_k ~ U_k V_k` ([G], Sec. 4.4).

    The gates of layer 0 are exact. Those of a GReLU network come from the recursion `z_k = relu(U_k V_k z_{k-1})`, or
    from the sample itself if its gates are shallow, those of a ReLU network from the activations that this module
    computes, `U_k V_k z_{k-1} > 0`. Zeros of a layer's inputs are skipped, and neurons predicted off for all samples of
    a batch are not computed where that pays. No gradients.

    Args:
        net: GReLUNetwork or ReLUNetwork; not copied, its weights are those in use.
        factors: (U_k, V_k), (units, rank) and (rank, inputs) as Psi_k is (units, inputs), for layers 1, 2, ...; one for
            each ReLU or gate there is.

    Attributes:
        net: as given.
        u_1, v_1, u_2, ...: buffers with the factors.
    """

    def __init__(self, net: GReLUNetwork | ReLUNetwork, factors: Sequence[tuple[Tensor, Tensor]]) -> None:
        super().__init__(dict(enumerate(factors, 1)))
        self.net = net
        self.predicted = len(factors)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in) of the network's dtype."""
        return self.outputs_and_gates(x)[0]

    def gate_table(self, x: Tensor) -> GateTable:
        """The gates in use for samples (n, d_in): exact ones of layer 0, then the predicted ones.

        >>> from gatentk.convert import low_rank_gates
        >>> fast, _ = low_rank_gates(GReLUNetwork(10, 64, 2), torch.eye(10))
        >>> fast.gate_table(torch.eye(10)).layers
        3
        """
        return GateTable(torch.stack(self.outputs_and_gates(x)[1]), self.net.width, block=gate_block(self.net))

    @torch.no_grad()
    def outputs_and_gates(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs, and the packed gates of layer 0 and of the predicted layers."""
        self.net.check_input(x)
        return self._run_grelu(self.net, x) if isinstance(self.net, GReLUNetwork) else self._run_relu(self.net, x)

    def _run_grelu(self, net: GReLUNetwork, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        block, samples = net.gate_net.block, net.gate_net.centred(x)
        z = next(gate_activations(net, x))
        bits = [ops.pack_bits(z > 0)]
        gate = _gate_of(bits[0], net.width, block)
        t = ops.masked_linear(x, net.input_weight, None, gate, net.method)
        for k, weight in enumerate(net.weights, 1):
            z = torch.relu(self._predict(k, samples if net.gate_net.kind == "shallow" else z))
            bits.append(ops.pack_bits(z > 0))
            t = self._product(t, weight, gate, z > 0, net.method, block)
            gate = _gate_of(bits[k], net.width, block)
        return ops.masked_linear(t, net.output_weight, gate, None, net.method), bits

    def _run_relu(self, net: ReLUNetwork, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        z = next(gate_activations(net, x))
        bits = [ops.pack_bits(z > 0)]
        for k, weight in enumerate(list(net.weights)[: self.predicted], 1):
            on = self._predict(k, z) > 0
            bits.append(ops.pack_bits(on))
            z = torch.relu(self._product(z, weight, None, on, net.method))
        for weight in list(net.weights)[self.predicted :]:
            z = ops.masked_linear(z, weight, method=net.method)
        return ops.masked_linear(z, net.output_weight, method=net.method), bits


def _gate_of(bits: Tensor, width: int, block: int) -> ops.Gate:
    """Gates for one product or two, for which plans of single neurons do not pay."""
    return bits if block == 1 else ops.GateLayer(bits, width, block)


def gate_block(net: GReLUNetwork | ReLUNetwork) -> int:
    """Neurons that share a gate."""
    return net.gate_net.block if isinstance(net, GReLUNetwork) else 1


def gate_weights(net: GReLUNetwork | ReLUNetwork) -> list[Tensor]:
    """Psi_1, Psi_2, ... of all layers whose outputs are gated."""
    if isinstance(net, GReLUNetwork):
        return net.gate_net.weights
    return list(net.weights)[: net.depth if net.last_relu else net.depth - 1]


def gate_activations(net: GReLUNetwork | ReLUNetwork, x: Tensor) -> Iterator[Tensor]:
    """z_0, z_1, ..., whose signs are the exact gates, each (n, units)."""
    if isinstance(net, GReLUNetwork):
        # By the matrices, whatever a subclass may do: factors are of them.
        z = x = net.gate_net.centred(x)
        for weight in (net.gate_net.input_weight, *gate_weights(net)):
            z = ops.ordered_linear(x if net.gate_net.kind == "shallow" else z, weight, relu=True)
            yield z
    else:
        z = x
        for weight in (net.input_weight, *gate_weights(net)):
            z = torch.relu(ops.masked_linear(z, weight, method=net.method))
            yield z
