import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases.benchmark import request_of

from gatentk.bench import run
from gatentk.bench.process import PeerError, PeerProcess


def test_peer_process_answers_and_ends(fake):
    with PeerProcess(sys.executable, request_of(2.0), 1, fake) as peer:
        assert (peer.name, peer.versions) == ("fake", {"fake": "1.0"})
        assert [peer.seconds(), peer.seconds()] == [0.5, 1.5]
        assert torch.equal(peer.result(), torch.full((2, 2), 24.0, dtype=torch.float64))
        folder = Path(peer._folder.name)
        process = peer._process
        assert folder.is_dir()
    assert process.poll() is not None
    assert not folder.exists()


def test_a_peer_hears_of_biases(fake):
    with PeerProcess(sys.executable, replace(request_of(2.0), w_std=1.5, b_std=0.25), 1, fake) as peer:
        assert torch.equal(peer.result(), torch.full((2, 2), 24.25, dtype=torch.float64))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, r"ended without an answer; its last message was: Segmentation fault \(not really\)"),
        (-2.0, r"No module named 'jax'; versions that work: neural-tangents==0\.6\.5 jax==0\.4\.28 "),
        (-3.0, r"ended without an answer; it left no message"),
    ],
)
def test_failures_of_the_peer_are_named(fake, value, message):
    with pytest.raises(PeerError, match=message):
        PeerProcess(sys.executable, request_of(value), 1, fake)


def test_wrong_interpreter(tmp_path):
    with pytest.raises(PeerError, match=r"cannot run .*nowhere: No such file or directory"):
        run.check_peer(tmp_path / "nowhere")
    (tmp_path / "text").write_text("no program")
    with pytest.raises(PeerError, match=r"cannot run .*text: Permission denied"):
        run.check_peer(tmp_path / "text")


def test_environment_without_neural_tangents():
    with pytest.raises(PeerError, match=r"ModuleNotFoundError: No module named '(jax|neural_tangents)'; versions"):
        run.check_peer(sys.executable)
