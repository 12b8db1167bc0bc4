import types

import pytest
import torch

from gatentk import ops


@pytest.fixture
def followed():
    """The precision and torch's settings come back."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    yield matmul
    ops.select_cuda_precision("auto")
    matmul.allow_tf32 = before


def test_precision_follows_torch_unless_it_is_chosen(followed):
    followed.allow_tf32 = False
    assert ops.cuda_precision() == "tf32x3"
    followed.allow_tf32 = True
    assert ops.cuda_precision() == "tf32"
    for name in ops.CUDA_PRECISIONS:
        ops.select_cuda_precision(name)
        assert ops.cuda_precision() == name
    ops.select_cuda_precision("auto")
    assert ops.cuda_precision() == "tf32"
    with pytest.raises(ValueError, match=r"^name: expected one of 'auto', 'strict', 'tf32x3', 'tf32', got 'fast'"):
        ops.select_cuda_precision("fast")


def test_both_settings_of_torch_are_understood(followed, monkeypatch):
    for expected, settings in (
        ("tf32", types.SimpleNamespace(fp32_precision="tf32")),
        ("tf32x3", types.SimpleNamespace(fp32_precision="ieee")),
        ("tf32x3", types.SimpleNamespace(fp32_precision="none")),
        ("tf32", types.SimpleNamespace(allow_tf32=True)),
        ("tf32x3", types.SimpleNamespace(allow_tf32=False)),
    ):
        monkeypatch.setattr(torch.backends.cuda, "matmul", settings)
        assert ops.cuda_precision() == expected
