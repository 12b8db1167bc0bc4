"""Gates, gated networks and conversions on a CUDA device, against the same on the CPU."""

import copy

import pytest
import torch
from cases.bits import draw

from gatentk import convert, spectrum
from gatentk.gates import GateNetwork, GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork


def rows(generator, n, d=7, dtype=torch.float32):
    return torch.randn(n, d, generator=generator, dtype=dtype)


def gradients(net, x, **options):
    loss = net(x, **options).square().sum()
    return [g.cpu() for g in torch.autograd.grad(loss, list(net.weights))]


def test_gates_are_those_of_the_cpu_bit_for_bit(device, cpu, generator):
    net = GateNetwork(7, 70, 2, generator)
    x = rows(generator, 50)
    with cpu():
        expected = net.table(x)
    found = copy.deepcopy(net).to(device).table(x.to(device), batch_size=20)
    assert found.bits.device.type == device.type
    assert torch.equal(found.bits.cpu(), expected.bits)
    assert found.fingerprint == expected.fingerprint


def test_tables(device, tmp_path):
    mask = draw(0, 3 * 20, 70, 0.4).reshape(3, 20, 70)
    table = GateTable.from_bool(mask.to(device))
    other = GateTable.from_bool(mask.flip(1))
    assert torch.equal(table.to_bool().cpu(), mask)
    assert table.density() == pytest.approx(float(mask.double().mean()))
    assert torch.equal(table.hamming(other.to(device)), GateTable.from_bool(mask).hamming(other))
    for index in (3, [5, -1, 5], torch.tensor([2, 0], device=device), slice(None, None, -2), mask[0, :, 0].to(device)):
        part = table[index]
        assert part.bits.device.type == device.type
        on_cpu = GateTable.from_bool(mask)[index.cpu() if isinstance(index, torch.Tensor) else index]
        assert torch.equal(part.bits.cpu(), on_cpu.bits)
    table.save(tmp_path / "table")
    assert torch.equal(GateTable.load(tmp_path / "table").to(device).bits, table.bits)
    assert torch.equal(table.neuron_major(1).cpu(), GateTable.from_bool(mask).neuron_major(1))


def test_a_table_in_a_file_serves_a_device(device, tmp_path, generator):
    net = GReLUNetwork(7, 70, 2, 3, generator=generator).to(device)
    x = rows(generator, 20).to(device)
    table = net.gate_table(x, path=tmp_path / "table")
    assert table.bits.device.type == "cpu"
    assert torch.equal(net(x[:9], gates=table[:9].to(device)), net(x[:9]))


@pytest.mark.parametrize("kind", [GReLUNetwork, ReLUNetwork])
def test_networks_and_their_gradients_are_those_of_the_cpu(device, cpu, kind, generator):
    net = kind(7, 70, 2, 3, generator=generator, dtype=torch.float64)
    x = rows(generator, 40, dtype=torch.float64)
    with cpu():
        expected, expected_gradients = net(x), gradients(net, x)
    net.to(device)
    torch.testing.assert_close(net(x.to(device)).cpu(), expected, rtol=1e-12, atol=1e-12)
    for ours, plain in zip(gradients(net, x.to(device)), expected_gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-11, atol=1e-11)


def test_looking_gates_up_changes_no_bit(device, generator):
    net = GReLUNetwork(7, 70, 2, 3, generator=generator).to(device)
    x = rows(generator, 40).to(device)
    table = net.gate_table(x)
    assert torch.equal(net(x, gates=table), net(x))
    for looked_up, computed in zip(gradients(net, x, gates=table), gradients(net, x), strict=True):
        assert torch.equal(looked_up, computed)


def test_conversions(device, generator):
    gnet = GReLUNetwork(7, 70, 2, 3, generator=generator, dtype=torch.float64).to(device)
    x = rows(generator, 30, dtype=torch.float64).to(device)
    rnet, report = convert.grelu_to_relu(gnet, x)
    assert report.residual < 1e-9
    torch.testing.assert_close(rnet(x), gnet(x), rtol=1e-8, atol=1e-8)
    again = convert.relu_to_grelu(ReLUNetwork(7, 70, 2, 3, generator=generator, dtype=torch.float64).to(device))
    assert {t.device.type for t in (*again.parameters(), *again.buffers())} == {device.type}
    fast, low_rank = convert.low_rank_gates(again, x, rank=5)
    assert fast(x).device.type == device.type
    assert 0 < low_rank.layers[0].agreement <= 1


def test_a_spectrum_is_computed_on_the_cpu(device, generator):
    a = rows(generator, 9, 20, torch.float64)
    assert spectrum((a @ a.T).to(device)) == spectrum(a @ a.T)
