"""Runs that are killed, or that meet a full disk, at any moment: the same results, and nobody else's file touched."""

import pytest
from cases import kills

FEWEST = {"saved network": 8}  # operations of a run; of others 40
NESTED = ("papers", "forgotten papers", "demo")  # a disk that is full stops a run inside, which others are for
# A saved network leaves nothing of a pair that is not complete, see tests/nn/test_pretrained.py.
FILLED = [name for name in kills.SCENARIOS if name not in (*NESTED, *FEWEST) and "forgotten" not in name]


@pytest.fixture(scope="module")
def server():
    server = kills.Server()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("name", "share"), [("training", 0.1), ("study", 0.06), ("paper", 0.06), ("saved network", 0.3)]
)
def test_a_run_that_is_killed_at_some_operations_goes_on(server, tmp_path, name, share):
    assert server.ask(kills.kills_at_operations, root=tmp_path, name=name, share=share)["kills"] > 2


def test_a_disk_that_is_full_at_some_operations_loses_nothing(server, tmp_path):
    assert server.ask(kills.full_disks, root=tmp_path, name="training", share=0.07)["errors"] > 2


def test_a_training_that_is_killed_at_random_times_goes_on(server, tmp_path):
    server.ask(kills.kills_at_any_time, root=tmp_path, name="training", kills=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", kills.SCENARIOS)
def test_a_run_that_is_killed_at_any_operation_goes_on(server, tmp_path, name):
    """Before each, and in the middle of each write; nearly all are killed a second time while they go on."""
    answer = server.ask(kills.kills_at_operations, root=tmp_path, name=name, twice=True)
    print(name, answer)
    assert answer["kills"] >= answer["strikes"] >= answer["operations"] > FEWEST.get(name, 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILLED)
def test_a_disk_that_is_full_at_any_operation_loses_nothing(server, tmp_path, name):
    answer = server.ask(kills.full_disks, root=tmp_path, name=name)
    print(name, answer)
    assert answer["errors"] > 15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [("training", 200), ("commanded training", 40), ("switched training", 60), ("study", 40), ("paper", 40)],
)
def test_a_run_that_is_killed_at_random_times_goes_on(server, tmp_path, name, count):
    print(name, server.ask(kills.kills_at_any_time, root=tmp_path, name=name, kills=count))
