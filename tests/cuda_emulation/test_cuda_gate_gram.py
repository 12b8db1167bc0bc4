"""Counts of gates on in common by the CUDA kernels, in every configuration."""

import pytest
import torch
from cases.devices import made_up

from gatentk import reference

DEVICE = made_up(90, 132)
CONFIGURATIONS = range(4)
SHAPES = [(1, 1, 1), (2, 3, 128), (33, 70, 129), (64, 64, 512), (65, 20, 700), (130, 131, 1500)]


def random_bits(rows, width, seed=0):
    mask = torch.rand(rows, width, generator=torch.Generator().manual_seed(seed)) < 0.5
    return mask, reference.pack_bits(mask)


def count(emulated, a, b, configuration=-1, device=DEVICE):
    """Counts of the rows of packed bits a and b, of a alone where b is None."""
    columns = a if b is None else b
    out = torch.full((len(a), len(columns)), -1, dtype=torch.int32)
    emulated.gate_gram(
        (a.data_ptr(), a.stride(0)),
        len(a),
        (columns.data_ptr(), columns.stride(0)),
        len(columns),
        a.shape[1],
        b is None,
        out.data_ptr(),
        device,
        configuration=configuration,
    )
    return out


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize(("rows", "columns", "width"), SHAPES)
def test_counts_equal_the_product_of_masks(emulated, configuration, rows, columns, width):
    (mask, a), (other, b) = random_bits(rows, width), random_bits(columns, width, seed=1)
    expected = (mask.float() @ other.float().T).to(torch.int32)
    assert torch.equal(count(emulated, a, b, configuration), expected)
    own = count(emulated, a, None, configuration)
    assert torch.equal(own, (mask.float() @ mask.float().T).to(torch.int32))
    assert torch.equal(own, own.T)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_any_order_of_lanes_gives_the_same(emulated, lane_order, configuration):
    mask, a = random_bits(40, 1200)
    assert torch.equal(count(emulated, a, None, configuration), (mask.float() @ mask.float().T).to(torch.int32))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_all_on_and_all_off(emulated, configuration):
    on = reference.pack_bits(torch.ones(5, 650, dtype=torch.bool))
    off = reference.pack_bits(torch.zeros(3, 650, dtype=torch.bool))
    assert (count(emulated, on, None, configuration) == 650).all()
    assert (count(emulated, on, off, configuration) == 0).all()


def test_rows_may_lie_apart(emulated):
    mask, bits = random_bits(6, 300)
    wide = torch.full((6, 96), 255, dtype=torch.uint8)
    wide[:, 32:80] = bits
    assert torch.equal(count(emulated, wide[:, 32:80], None, 2), (mask.float() @ mask.float().T).to(torch.int32))


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (0, 0)])
def test_no_rows_give_no_counts(emulated, rows, columns):
    (_, a), (_, b) = random_bits(rows, 20), random_bits(columns, 20)
    assert count(emulated, a, b).shape == (rows, columns)


def test_no_neurons_give_zeros(emulated):
    bits = torch.empty(3, 0, dtype=torch.uint8)
    for configuration in CONFIGURATIONS:
        assert not count(emulated, bits, None, configuration).any()


def test_misaligned_rows_and_unknown_configurations_are_refused(emulated):
    _, bits = random_bits(4, 128)
    with pytest.raises(ValueError, match="groups of 16 bytes"):
        count(emulated, bits[:, 8:], None)
    with pytest.raises(ValueError, match="no such configuration"):
        count(emulated, bits, None, 4)


def test_choice_depends_on_the_tensor_cores_and_the_number_of_tiles(emulated):
    table = emulated.gate_gram_configurations()
    assert len(table) == len(CONFIGURATIONS)
    for architecture in (80, 90, 100):
        chosen = {
            emulated.choose_gate_gram(made_up(architecture, 132), rows, columns, symmetric)
            for rows, columns, symmetric in [(10, 10, True), (100_000, 5, False), (5000, 5000, True), (0, 0, False)]
        }
        assert len(chosen) == 2
        assert all(architecture in table[index]["architectures"] for index in chosen)
    assert emulated.choose_gate_gram(made_up(80, 108), 200, 200, False) == 1
    assert emulated.choose_gate_gram(made_up(80, 108), 2000, 2000, False) == 0
    # One triangle has half of the tiles.
    assert emulated.choose_gate_gram(made_up(80, 108), 1400, 1400, False) == 0
    assert emulated.choose_gate_gram(made_up(80, 108), 1400, 1400, True) == 1
    assert table[emulated.choose_gate_gram(made_up(100, 148), 2000, 2000, False)]["name"] == "popc 64x64"
