"""What of the operations for CUDA tensors shows without a CUDA device: checks, messages."""

import sys
import types

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from gatentk import _core, ops
from gatentk.errors import CudaMissingError, GateNTKError
from gatentk.ops import cuda, layouts, registration

NAMES = (
    "block_lists",
    "pack_bits",
    "unpack_bits",
    "transpose_bits",
    "gate_gram",
    "gate_rows",
    "gram_ntk",
    "infinite_network",
    "infinite_ntk",
)


@pytest.fixture
def fakes():
    """Tensors without memory that say they are on a CUDA device."""
    with FakeTensorMode():
        yield


def fake(*shape, dtype=torch.float32, device="cuda"):
    return torch.empty(*shape, dtype=dtype, device=device)


def bits(*shape, device="cuda"):
    return fake(*shape, dtype=torch.uint8, device=device)


@pytest.fixture
def missing(monkeypatch):
    """An installation without the compiled module."""
    monkeypatch.setitem(sys.modules, "gatentk._cuda", None)
    for cached in (cuda.compiled, cuda.kernels):
        cached.cache_clear()
    yield
    for cached in (cuda.compiled, cuda.kernels):
        cached.cache_clear()


@pytest.mark.parametrize("name", [*NAMES, "masked_matmul", "ordered_linear"])
def test_every_operation_is_registered_for_cuda(name):
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"gatentk::{name}", "CUDA")


def test_results_are_on_the_device_of_the_arguments(fakes):
    x, gates = fake(9, 200), bits(9, 32)
    results = [
        ops.pack_bits(fake(9, 200, dtype=torch.bool)),
        ops.unpack_bits(gates, 200),
        ops.transpose_bits(gates, 200),
        ops.gate_gram(gates),
        ops.masked_linear(x, fake(5, 200), gates),
        ops.ordered_linear(x, fake(5, 200)),
        ops.gram_ntk([x], [x], gates=[gates]),
        ops.infinite_ntk(x, None, [1, 2], "relu"),
        ops.infinite_network(x, None, [1, 2], "leaky_relu", bias=0.1),
    ]
    shapes = [(9, 32), (9, 200), (200, 16), (9, 9), (9, 5), (9, 5), (9, 9), (2, 9, 9), (2, 9, 9)]
    assert [tuple(result.shape) for result in results] == shapes
    assert all(result.is_cuda for result in results)


def test_bfloat16_is_for_masked_products(fakes):
    z, weight = fake(9, 200, dtype=torch.bfloat16), fake(5, 200, dtype=torch.bfloat16)
    assert ops.masked_linear(z, weight, bits(9, 32)).dtype == torch.bfloat16
    for message, call in (
        ("^z: expected a float32 or float64 or bfloat16 tensor", lambda: ops.masked_linear(z.half(), weight)),
        ("^x: expected a float32 or float64 tensor", lambda: ops.ordered_linear(z, weight)),
        (r"^acts\[0\]: expected a float32 or float64 tensor", lambda: ops.gram_ntk([z], [z])),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_layers_of_a_table_need_no_plans(fakes):
    """Their property would build them."""

    class Layer:
        bits = bits(9, 32)

        @property
        def plans(self):
            raise AssertionError("plans are for the CPU")

    assert ops.masked_linear(fake(9, 200), fake(5, 200), Layer()).is_cuda
    with pytest.raises(ValueError, match=r"^bits: masked products on cuda:0 need no plan"):
        ops.build_plan(bits(9, 32), 200)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("^weight: expected a tensor on cuda:0 as z, got .* on cpu", lambda x, y, g, h: ops.masked_linear(x, y)),
        ("^weight: expected a tensor on cpu as z", lambda x, y, g, h: ops.masked_linear(y, x)),
        ("^gate_in: expected a tensor on cuda:0 as z", lambda x, y, g, h: ops.masked_linear(x, x, h)),
        ("^gate_out: expected a tensor on cpu as z", lambda x, y, g, h: ops.masked_linear(y, y, None, g)),
        (r"^deltas\[0\]: expected a tensor on cuda:0 as acts\[0\]", lambda x, y, g, h: ops.gram_ntk([x], [y])),
        (r"^acts\[1\]: expected a tensor on cpu", lambda x, y, g, h: ops.gram_ntk([y, x], [y, y])),
        (r"^acts_b\[0\]: expected a tensor on cuda:0", lambda x, y, g, h: ops.gram_ntk([x], [x], [y], [x])),
        (r"^deltas_b\[0\]: expected a tensor on cuda:0", lambda x, y, g, h: ops.gram_ntk([x], [x], [x], [y])),
        (r"^gates\[0\]: expected a tensor on cuda:0", lambda x, y, g, h: ops.gram_ntk([x], [x], gates=[h])),
        ("^z: expected a tensor on cuda:0 as x", lambda x, y, g, h: ops.infinite_ntk(x, y, [1], "relu")),
        ("^z: expected a tensor on cuda:0 as x", lambda x, y, g, h: ops.infinite_network(x, y, [1], "leaky_relu")),
        ("^weight: expected a tensor on cuda:0 as x", lambda x, y, g, h: ops.ordered_linear(x, y)),
        ("^bits_b: expected a tensor on cuda:0 as bits_a", lambda x, y, g, h: ops.gate_gram(g, h)),
        ("^weight: expected a tensor on cuda:0 as z", lambda x, y, g, h: ops.masked_linear(x, x.to("cuda:1"))),
    ],
)
def test_tensors_of_different_devices_are_refused_by_name(fakes, message, call):
    with pytest.raises(ValueError, match=message):
        call(fake(9, 9), fake(9, 9, device="cpu"), bits(9, 16), bits(9, 16, device="cpu"))


def test_other_devices_are_refused_by_name():
    with pytest.raises(ValueError, match=r"^z: there are kernels for CUDA and CPU tensors only, got one on meta"):
        ops.masked_linear(torch.ones(2, 3, device="meta"), torch.ones(4, 3, device="meta"))


# The compiled module


def test_without_the_module_a_cuda_tensor_says_how_to_get_it(missing):
    for call in (cuda.compiled, cuda.kernels, lambda: registration.CUDA["pack_bits"](torch.ones(2, 3) > 0)):
        with pytest.raises(CudaMissingError, match=r"built without them; .*GATENTK_CUDA=ON") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, (RuntimeError, GateNTKError))
    assert cuda.description() == str(caught.value)


def test_a_module_that_does_not_load_says_why(missing, monkeypatch):
    def broken(name):
        raise ImportError("libc.so.7: cannot open shared object file")

    monkeypatch.setattr(cuda, "import_module", broken)
    with pytest.raises(CudaMissingError, match=r"cannot be loaded: libc\.so\.7: cannot open"):
        cuda.compiled()


def test_what_was_built_is_described(missing, monkeypatch):
    monkeypatch.setattr(cuda, "import_module", lambda name: types.SimpleNamespace(architectures=[80, 90]))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cuda.description().startswith("kernels for sm_80, sm_90; no device (torch ")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA Something")
    monkeypatch.setattr(cuda, "_properties", lambda index: (90, 132, 232448))
    assert cuda.description() == ("kernels for sm_80, sm_90; cuda:0 NVIDIA Something (sm_90, 132 multiprocessors)")


def test_kernels_are_told_what_a_block_of_the_device_may_have(monkeypatch):
    properties = types.SimpleNamespace(major=8, minor=6, multi_processor_count=84)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    limits = {0: 166912, 1: 101376}
    monkeypatch.setattr(cuda, "compiled", lambda: types.SimpleNamespace(shared_bytes_of=limits.__getitem__))
    assert cuda._properties.__wrapped__(1) == (86, 84, 101376)


def test_quantities_are_numbered_as_the_compiled_modules_number_them():
    names = ops.QUANTITIES + ops.NETWORK_QUANTITIES
    assert [_core.Quantity.__members__[name].value for name in names] == list(range(len(names)))


def test_layouts_are_those_that_the_public_names_promise():
    assert (ops.ROW_ALIGNMENT, ops.row_bytes(129)) == (layouts.ROW_ALIGNMENT, 32)
