"""To which dtypes modules with masked products can be converted."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from gatentk.ops import CUDA_DTYPES


class ConvertibleModule(nn.Module):
    """A module that goes to a dtype of masked products, as by `.double()` or `.bfloat16()`, or stays as it is."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ConvertibleModule:
        for parameter in self.parameters():
            dtype = fn(parameter.new_empty(0)).dtype
            if dtype not in CUDA_DTYPES:
                names = ", ".join(map(str, CUDA_DTYPES))
                raise TypeError(f"dtype: {type(self).__name__} can be converted to {names}, not to {dtype}")
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self
