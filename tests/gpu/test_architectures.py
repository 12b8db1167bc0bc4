"""Every operation with what is chosen for each architecture, on emulated kernels."""

import pytest
import torch
from cases import every_operation
from cases.devices import SHARED_BYTES
from cases.emulation import kernels_for

from gatentk.ops import cuda


@pytest.mark.parametrize("architecture", sorted(SHARED_BYTES))
def test_every_operation_on_every_architecture(emulated, emulation, monkeypatch, architecture):
    arguments = every_operation.inputs("cpu")
    with emulation.paused():
        expected = every_operation.every_operation(*arguments)
    monkeypatch.setattr(cuda, "kernels", lambda: kernels_for(architecture, emulated))
    for found, plain in zip(every_operation.every_operation(*arguments), expected, strict=True):
        if plain.is_floating_point():
            tolerance = 100 * torch.finfo(plain.dtype).eps * float(plain.abs().max())
            torch.testing.assert_close(found, plain, rtol=0, atol=tolerance)
        else:
            assert torch.equal(found, plain)
