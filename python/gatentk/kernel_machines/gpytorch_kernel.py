"""Kernels of infinite width for GPyTorch's models."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatentk import extras
from gatentk.checks import describe
from gatentk.kernel_machines.networks import DEVIATIONS, WideNetwork
from gatentk.ntk.samples import check_depth

with extras.imports("gpytorch", "gatentk.kernel_machines.GPyTorchKernel"):
    from gpytorch.constraints import Interval, Positive
    from gpytorch.kernels import Kernel
    from gpytorch.priors import Prior


class GPyTorchKernel(Kernel):
    """The kernel of an infinitely wide network as a `gpytorch.kernels.Kernel`, whose deviations are learnt.

    A `w_std` that is given and a `b_std` above 0 are parameters, `raw_w_std` and `raw_b_std` (*batch_shape, 1), with
    these values at the start; what is left out stays as it is, and so does a `b_std` of 0. Lengthscales, one a
    feature with `ard_num_dims`, are there if one of their three arguments is. Kernels have the dtype of the samples
    and gradients by them, too.

    Args:
        depth, activation, w_std, b_std, slope: as in `gatentk.ntk.infinite`.
        kernel: "ntk", all weights are trained, or "nngp", only those of the last layer.
        normalize: samples are scaled to norm 1 first, after lengthscales.
        w_std_prior, b_std_prior: gpytorch.priors.Prior of the deviations.
        w_std_constraint, b_std_constraint: of the parameters, gpytorch.constraints.Positive() if left out.
        ard_num_dims, lengthscale_prior, lengthscale_constraint, batch_shape, active_dims: as in GPyTorch.

    Raises:
        TypeError, ValueError: as `gatentk.ntk.infinite`; a prior or constraint of what is no parameter.

    >>> import gpytorch, torch
    >>> from gatentk.kernel_machines import GPyTorchKernel
    >>> kernel = GPyTorchKernel(depth=1, w_std=1.5, b_std=0.1)
    >>> [name for name, _ in kernel.named_parameters()]
    ['raw_w_std', 'raw_b_std']
    >>> kernel(torch.eye(2)).to_dense().detach()
    tensor([[2.5638, 0.4277],
            [0.4277, 2.5638]])
    """

    def __init__(
        self,
        depth: int = 1,
        activation: str = "relu",
        *,
        kernel: str = "ntk",
        w_std: float | None = None,
        b_std: float | None = None,
        slope: float | None = None,
        normalize: bool = False,
        w_std_prior: Prior | None = None,
        w_std_constraint: Interval | None = None,
        b_std_prior: Prior | None = None,
        b_std_constraint: Interval | None = None,
        ard_num_dims: int | None = None,
        lengthscale_prior: Prior | None = None,
        lengthscale_constraint: Interval | None = None,
        batch_shape: torch.Size | None = None,
        active_dims: tuple[int, ...] | None = None,
    ) -> None:
        # What GPyTorch's constructor asks for.
        self.has_lengthscale = any(
            given is not None for given in (ard_num_dims, lengthscale_prior, lengthscale_constraint)
        )
        super().__init__(
            ard_num_dims=ard_num_dims,
            batch_shape=batch_shape,
            active_dims=active_dims,
            lengthscale_prior=lengthscale_prior,
            lengthscale_constraint=lengthscale_constraint,
        )
        self.depth = check_depth("depth", depth)
        self._network = WideNetwork(kernel, activation, w_std, b_std, slope, normalize)
        self._network.check()
        # Tells dtype and device where there are no parameters; of their shape, as GPyTorch indexes it with them.
        self.register_buffer("_place", torch.zeros(*self.batch_shape, 1), persistent=False)
        self._register("w_std", w_std, w_std_prior, w_std_constraint)
        self._register("b_std", b_std, b_std_prior, b_std_constraint)

    def _register(self, name: str, value: float | None, prior: Prior | None, constraint: Interval | None) -> None:
        if not value:
            for argument, given in ((f"{name}_prior", prior), (f"{name}_constraint", constraint)):
                if given is not None:
                    raise ValueError(f"{argument}: expected none where {name} is {value} and not learnt, got {given!r}")
            return
        self.register_parameter(f"raw_{name}", nn.Parameter(torch.zeros(*self.batch_shape, 1)))
        self.register_constraint(f"raw_{name}", Positive() if constraint is None else constraint)
        _set(name, self, value)
        if prior is not None:
            if not isinstance(prior, Prior):
                raise TypeError(f"{name}_prior: expected a gpytorch.priors.Prior, got {describe(prior)}")
            self.register_prior(f"{name}_prior", prior, partial(_get, name), partial(_set, name))

    @property
    def w_std(self) -> Any:
        """Standard deviation of the weights, (*batch_shape, 1); what was given where it is not learnt."""
        return _get("w_std", self)

    @w_std.setter
    def w_std(self, value: Any) -> None:
        _set("w_std", self, value)

    @property
    def b_std(self) -> Any:
        """Standard deviation of the biases, (*batch_shape, 1); what was given where it is not learnt."""
        return _get("b_std", self)

    @b_std.setter
    def b_std(self, value: Any) -> None:
        _set("b_std", self, value)

    @property
    def is_stationary(self) -> bool:
        """False: it depends on more than the difference of two samples."""
        return False

    @property
    def dtype(self) -> torch.dtype:
        """That of the parameters, and of kernels of samples of that dtype."""
        own: torch.dtype = self._place.dtype
        return own

    @property
    def device(self) -> torch.device:
        """That of the parameters."""
        place: torch.device = self._place.device
        return place

    def forward(
        self, x1: Tensor, x2: Tensor, diag: bool = False, last_dim_is_batch: bool = False, **params: Any
    ) -> Tensor:
        """The kernel of samples (..., n, d) and (..., m, d).

        Returns:
            (..., n, m); with `diag` the kernel of each sample with its partner, (..., n).

        Raises:
            TypeError, ValueError: as `gatentk.ntk.infinite`; last_dim_is_batch=True, as kernels here are of all
                features.
        """
        if last_dim_is_batch:
            raise ValueError(
                "last_dim_is_batch: expected False, got True; give a kernel for each feature, with active_dims"
            )
        sides = [x1] if _are_the_same(x1, x2) else [x1, x2]
        if self.has_lengthscale:
            sides = [side / self.lengthscale.to(side.dtype) for side in sides]
        shape = torch.Size(np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2], self.batch_shape))
        sides = [side.expand(*shape, *side.shape[-2:]) for side in sides]
        deviations = {name: getattr(self, name) for name in DEVIATIONS}
        learnt = {name: value.to(x1.dtype) for name, value in deviations.items() if isinstance(value, Tensor)}
        if self.batch_shape.numel() == 1 or not learnt:
            return self._of_one(sides, {name: value.view(()) for name, value in learnt.items()}, diag)
        # A network for each entry of the batch; axes before those of batch_shape are samples of all of them.
        axes = shape[len(shape) - len(self.batch_shape) :]
        sides = [side.flatten(-2 - len(axes), -3) for side in sides]
        many = {name: value.expand(*axes, 1).reshape(-1) for name, value in learnt.items()}
        kernels = [
            self._of_one([side[..., i, :, :] for side in sides], {name: each[i] for name, each in many.items()}, diag)
            for i in range(axes.numel())
        ]
        return torch.stack(kernels, dim=-2 if diag else -3).reshape(*shape, *kernels[0].shape[len(shape) - len(axes) :])

    def _of_one(self, sides: list[Tensor], learnt: dict[str, Any], diag: bool) -> Tensor:
        network = replace(self._network, **learnt)
        if diag:
            sides = [side.unsqueeze(-2) for side in sides]
        K = network.at(sides[0], sides[1] if len(sides) == 2 else None, self.depth, sides[0].dtype)
        return K[..., 0, 0] if diag else K

    def extra_repr(self) -> str:
        """What sets the network apart but for its parameters, for `repr`."""
        options = {"depth": self.depth, **vars(self._network)}
        return ", ".join(f"{name}={value!r}" for name, value in options.items() if not hasattr(self, f"raw_{name}"))


def _are_the_same(x1: Tensor, x2: Tensor) -> bool:
    """Whether a symmetric kernel is asked for; equal samples whose gradients are apart must stay apart."""
    return x1 is x2 or (not x1.requires_grad and not x2.requires_grad and torch.equal(x1, x2))


def _get(name: str, kernel: GPyTorchKernel) -> Any:
    raw = getattr(kernel, f"raw_{name}", None)
    return getattr(kernel._network, name) if raw is None else getattr(kernel, f"raw_{name}_constraint").transform(raw)


def _set(name: str, kernel: GPyTorchKernel, value: Any) -> None:
    raw = getattr(kernel, f"raw_{name}", None)
    if raw is None:
        raise ValueError(f"{name}: expected a kernel that was made with one above 0, got {describe(value)}")
    numbers = torch.as_tensor(value, dtype=raw.dtype, device=raw.device)
    kernel.initialize(**{f"raw_{name}": getattr(kernel, f"raw_{name}_constraint").inverse_transform(numbers)})
