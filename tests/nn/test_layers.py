import pytest
import torch

from gatentk import ops, reference
from gatentk.gates import GateLayer
from gatentk.nn import GReLULinear


def bits_of(generator, n, width):
    return ops.pack_bits(torch.rand(n, width, generator=generator) < 0.5)


@pytest.mark.parametrize("method", ops.METHODS)
def test_gated_layer_is_the_masked_product_of_the_reference(method, generator):
    layer = GReLULinear(150, 70, generator, torch.float64)
    layer.method = method
    z = torch.randn(90, 150, generator=generator, dtype=torch.float64, requires_grad=True)
    gate_in, gate_out = bits_of(generator, 90, 150), bits_of(generator, 90, 70)
    for inside, outside in ((gate_in, None), (None, gate_out), (gate_in, gate_out)):
        expected = reference.masked_linear(z, layer.weight, inside, outside)
        cotangent = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
        for wrap in (lambda bits, width: bits, GateLayer):
            rows = [None if g is None else wrap(g, w) for g, w in ((inside, 150), (outside, 70))]
            result = layer(z, *rows)
            torch.testing.assert_close(result, expected)
            inputs = (z, layer.weight)
            torch.testing.assert_close(
                torch.autograd.grad(result, inputs, cotangent),
                torch.autograd.grad(expected, inputs, cotangent, retain_graph=True),
            )


def test_gated_layers_keep_the_mean_square_of_the_values_that_they_read():
    weight = GReLULinear(300, 400, torch.Generator().manual_seed(0)).weight.detach()
    assert weight.shape == (400, 300)
    assert abs(float(weight.square().mean()) * 300 / 2 - 1) < 5 * (2 / weight.numel()) ** 0.5
    assert abs(float(weight.mean())) < 5 * (2 / 300 / weight.numel()) ** 0.5
    assert repr(GReLULinear(3, 4)) == "GReLULinear(in_features=3, out_features=4)"
    assert GReLULinear(3, 4, dtype=torch.float64).weight.dtype == torch.float64


LAYER, Z = GReLULinear(150, 70), torch.ones(4, 150)
ON = ops.pack_bits(Z > 0)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "in_features: expected an integer of at least 1", lambda: GReLULinear(0, 4)),
        (TypeError, "out_features: expected an integer", lambda: GReLULinear(4, 4.0)),
        (TypeError, "dtype: expected torch.float32 or torch.float64", lambda: GReLULinear(4, 4, dtype=torch.int32)),
        (ValueError, r"weight: expected shape \(out_features, 149\)", lambda: LAYER(Z[:, 1:], ON)),
        (TypeError, "weight: expected torch.float64 as z", lambda: LAYER(Z.double(), ON)),
        (TypeError, "gate_in: expected packed bits", lambda: LAYER(Z, Z > 0)),
        (
            ValueError,
            "gate_in: expected rows of 32 bytes for width 150",
            lambda: LAYER(Z, ops.pack_bits(Z[:, :70] > 0)),
        ),
        (ValueError, "gate_out: expected rows of 16 bytes for width 70", lambda: LAYER(Z, None, ON)),
        (ValueError, "gate_in, gate_out: expected gates .* torch.nn.Linear .*GatedLinear", lambda: LAYER(Z)),
        (ValueError, r"gate_in: expected bits of \(4,\) rows", lambda: LAYER(Z, ops.pack_bits(Z[1:] > 0))),
    ],
)
def test_bad_gates_of_a_layer_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()
