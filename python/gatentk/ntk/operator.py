"""The NTK of a network as a linear operator: products with it, without the matrix and without any Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn

from gatentk.checks import as_tensor, check_integer, describe
from gatentk.ntk.calls import call, check_samples_apart, depend_on_others, left_as_it_was, no_rows
from gatentk.ntk.given import own_precision, recordable, samples_for
from gatentk.ntk.outputs import Chosen, check_outputs, chosen_outputs
from gatentk.ntk.pullbacks import Pullbacks, pullbacks_of


class NTKOperator(LinearOperator):  # type: ignore[misc]
    """K(x, x) of a network, symmetric and positive semidefinite, by its products with vectors.

    A `scipy.sparse.linalg.LinearOperator` of the network's dtype, which takes numpy arrays; `matmul` and `@` also take
    tensors, on the network's device, whose gradient is not recorded. Made by `gatentk.ntk.operator`.

    Attributes:
        shape: (N, N), N = n, or n * d_y for outputs="full", sample by sample.
        dtype: the network's, as numpy has it.
        torch_dtype, device: the same for tensors.
    """

    def __init__(self, net: nn.Module, x: Tensor, chosen: Chosen, memory_limit: int, batch_size: int) -> None:
        self._net, self._x, self._chosen = net, x, chosen
        self._modes = [module.training for module in net.modules()]
        self._memory_limit, self._batch_size = memory_limit, batch_size
        self.torch_dtype, self.device = x.dtype, x.device
        self._pullbacks: Pullbacks = pullbacks_of(net, x[:2], chosen)
        size = len(x) * (chosen.number if chosen.layout == "full" else 1)
        super().__init__(np.dtype(str(x.dtype).removeprefix("torch.")), (size, size))

    def matmul(self, v: Tensor) -> Tensor:
        """K v.

        Args:
            v: (N,) or (N, columns), of the network's dtype and on its device.

        Returns:
            The same shape.

        Raises:
            TypeError, ValueError: v is of another dtype, device or shape; the network was put into another mode.

        >>> import torch
        >>> import gatentk as gt
        >>> net, x = gt.nn.MLP(3, 20, 1, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
        >>> K, v = gt.ntk.operator(net, x), torch.ones(3, dtype=torch.float64)
        >>> torch.allclose(K.matmul(v), gt.ntk.empirical(net, x) @ v)
        True
        """
        vectors = as_tensor("v", v, self.torch_dtype)
        if vectors.dtype != self.torch_dtype or vectors.device != self.device:
            raise TypeError(f"v: expected {self.torch_dtype} on {self.device} as the network, got {describe(v)}")
        if vectors.dim() not in (1, 2) or len(vectors) != self.shape[0]:
            raise ValueError(f"v: expected shape ({self.shape[0]},) or ({self.shape[0]}, columns), got {describe(v)}")
        if self._modes != [module.training for module in self._net.modules()]:
            raise ValueError("net: was put into train or eval mode after its operator was made; make another one")
        columns = vectors.reshape(len(vectors), -1)
        with torch.inference_mode(False), torch.no_grad(), own_precision(self._x):
            return self._product(recordable(columns)).view(vectors.shape)

    def __matmul__(self, other: Any) -> Any:
        """`matmul` for tensors, scipy's product for all else."""
        return self.matmul(other) if isinstance(other, Tensor) else super().__matmul__(other)

    def _matmat(self, X: Any) -> Any:
        columns = torch.from_numpy(np.ascontiguousarray(X, dtype=self.dtype))
        return self.matmul(columns.to(self.device)).cpu().numpy()

    def _matvec(self, x: Any) -> Any:
        return self._matmat(np.reshape(x, (-1, 1)))[:, 0]

    def _adjoint(self) -> NTKOperator:
        return self

    _transpose = _adjoint

    def _product(self, columns: Tensor) -> Tensor:
        n, k = len(self._x), self._chosen.number
        if self._chosen.layout == "full":
            return self._of(columns.T.reshape(columns.shape[1], n, k)).flatten(1).T
        if k == 1:
            return self._of(columns.T.unsqueeze(-1)).squeeze(-1).T
        total = torch.zeros_like(columns)
        for output in range(k):
            cotangents = columns.new_zeros(columns.shape[1], n, k)
            cotangents[:, :, output] = columns.T
            total += self._of(cotangents)[:, :, output].T
        return total

    def _of(self, cotangents: Tensor) -> Tensor:
        """J J^T of (columns, n, k), as many columns at a time as memory allows."""
        size = self._pullbacks.parameters * cotangents.element_size()
        block = max(1, self._memory_limit // max(3 * size, 1))
        if not len(cotangents):
            return cotangents
        return torch.cat([self._of_block(part) for part in torch.split(cotangents, block)])

    def _of_block(self, cotangents: Tensor) -> Tensor:
        gradients: list[Tensor] = []
        with left_as_it_was(self._net, self._x):
            for start in range(0, len(self._x), self._batch_size):
                rows = slice(start, start + self._batch_size)
                parts = self._pullbacks.back(self._x[rows], cotangents[:, rows])
                gradients = [a + b for a, b in zip(gradients, parts, strict=True)] if gradients else list(parts)
            results = [
                self._pullbacks.forth(self._x[start : start + self._batch_size], gradients)
                for start in range(0, len(self._x), self._batch_size)
            ]
        return torch.cat(results, dim=1)


def operator(
    net: nn.Module,
    x: Any,
    outputs: Any = "trace",
    *,
    batch_size: int = 1024,
    memory_limit: int = 2 << 30,
) -> NTKOperator:
    """K(x, x) of `empirical` as a symmetric operator v -> K v, which is never formed.

    K = J J^T with the Jacobian J of the outputs by the trained parameters: J^T v is one backward pass over all
    samples (vjp), J u one forward pass with tangents (jvp); blocks of columns go through both at once. The time of a
    product grows with n where the matrix takes n^2, its memory is that of the gradients and a batch's activations.
    It is of the network as it is at each product: its parameters are not copied.

    Args:
        net: any module whose outputs for a sample depend on that sample alone.
        x: samples (n, ...) of the network's dtype, tensor or numpy array; copied.
        outputs: "trace" sums the kernels of all outputs (a product each), "full" takes all pairs, as a matrix of
            n * d_y rows; an int takes that output, a vector (d_y,) the combination with these weights, "sum" the
            sum of all outputs.
        batch_size: samples that go through the network at once.
        memory_limit: bytes that the gradients of the columns of one block may take; one column is always taken.

    Returns:
        An `NTKOperator`: scipy's LinearOperator, with `matmul` for tensors. `gatentk.spectrum`, scipy's `eigsh` and
        `cg` take it as it is.

    Raises:
        TypeError, ValueError: as `empirical`; outputs="diag", which is no single operator.

    Warns:
        UserWarning: torch.func cannot look into the module, so that each column takes passes of its own.

    >>> import torch
    >>> import gatentk as gt
    >>> net, x = gt.nn.MLP(3, 50, 2, d_out=2, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    >>> K = gt.ntk.operator(net, x, outputs="full")
    >>> K.shape, K.dtype
    ((6, 6), dtype('float64'))
    >>> dense = gt.ntk.empirical(net, x, outputs="full").reshape(6, 6)
    >>> torch.allclose(K @ torch.eye(6, dtype=torch.float64), dense)
    True
    """
    outputs = check_outputs(outputs)
    batch_size = check_integer("batch_size", batch_size, 1)
    memory_limit = check_integer("memory_limit", memory_limit, 1)
    if isinstance(outputs, str) and outputs == "diag":
        raise ValueError("outputs: expected 'trace', 'full', 'sum', an int or a vector of weights, got 'diag'")
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected a torch.nn.Module, got {describe(net)}")
    samples = samples_for("x", x, net)
    with torch.inference_mode(False), torch.no_grad(), own_precision(samples):
        samples = samples.clone()
        d_out = check_samples_apart(net, samples)
        with left_as_it_was(net, samples):
            found = call(net, samples[:2])
        if found.shape[:1] != samples[:2].shape[:1]:
            raise no_rows(found, len(samples[:2]))
        if depend_on_others(net, samples):
            raise ValueError("net: the outputs of a sample depend on the other samples")
        return NTKOperator(net, samples, chosen_outputs(outputs, d_out, samples), memory_limit, batch_size)
