"""Kernels give the bits that they gave; `tools/stored_numbers.py` takes the list."""

import pytest
import stored_numbers
import torch

from gatentk import ops


def test_every_stored_number_is_still_what_the_kernels_give():
    compiler, stored = stored_numbers.stored()
    if stored_numbers.compiler() != compiler:
        pytest.skip(f"the list is of {compiler}, these kernels are of {stored_numbers.compiler()}")
    names = {name for name, _ in stored_numbers.numbers()}
    assert len(names) >= 12
    for isa in set(ops.available_isas()) - {"wide"}:
        now = stored_numbers.digests(isa)
        known = {key: stored[key] for key in now if key in stored}
        assert len(known) == len(names), f"{isa}: store the list again on this processor"
        assert [key for key in now if now[key] != stored[key]] == []


def test_the_numbers_of_a_kernel_do_not_depend_on_threads():
    isa, before = ops.isa(), torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(stored_numbers.digests(isa))
    torch.set_num_threads(before)
    assert results[0] == results[1]


def test_another_bit_is_noticed(monkeypatch):
    isa = ops.isa()
    before = stored_numbers.digests(isa)
    samples = stored_numbers.samples

    def moved(*shape, seed, dtype=torch.float64):
        values = samples(*shape, seed=seed, dtype=dtype)
        values[0] *= 1 + 64 * torch.finfo(dtype).eps
        return values

    monkeypatch.setattr(stored_numbers, "samples", moved)
    now = stored_numbers.digests(isa)
    assert {key for key in now if now[key] == before[key]} <= {f"pack_bits {isa}", f"gate_gram {isa}"}
