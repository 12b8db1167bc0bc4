"""The check of memory before a run."""

import pytest

from gatentk.runs import memory


def test_available_memory_is_plausible():
    available = memory.available_memory()
    assert available is None or 2**20 < available < 2**60


def test_too_little_memory_is_refused_with_what_helps(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2_000_000_000)
    memory.check_memory(2_000_000_000)
    with pytest.raises(MemoryError, match=r"^toy needs about 7\.0 GB of memory and 2\.0 GB are free$"):
        memory.check_memory(7_000_000_000, "toy")
    with pytest.raises(MemoryError, match=r"^this needs about .* are free; take a smaller width=$"):
        memory.check_memory(7_000_000_000, remedy="take a smaller width=")


def test_where_nothing_is_known_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    memory.check_memory(10**18)
