import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gatentk.bench import neural_tangents_peer


def test_peer_script_serves_errors_and_picks_what_works(tmp_path, monkeypatch):
    class Result(np.ndarray):
        def block_until_ready(self):
            return self

    def broken():
        raise AttributeError("module 'jax.interpreters.ad' has no attribute 'source_info_util'")

    candidates = {"structured": broken, "contraction": lambda: np.eye(2).view(Result)}
    monkeypatch.setattr(neural_tangents_peer, "limit_threads", lambda threads: None)
    monkeypatch.setattr(neural_tangents_peer, "versions", lambda: {"jax": "0"})
    monkeypatch.setattr(
        neural_tangents_peer, "prepare", lambda request: neural_tangents_peer.fastest(candidates, request["folder"])
    )
    broken_by = "AttributeError: module 'jax.interpreters.ad' has no attribute 'source_info_util'"
    first, then = json.dumps({"threads": 1, "folder": str(tmp_path)}), json.dumps({"command": "time"})
    answers = []
    neural_tangents_peer.serve(["not json", first, then, then], answers.append)
    assert answers[0]["error"].startswith("JSONDecodeError")
    assert answers[1] == {
        "versions": {"jax": "0"},
        "implementation": "contraction",
        "failed": {"structured": broken_by},
    }
    assert all(answer["seconds"] >= 0 for answer in answers[2:])
    np.testing.assert_array_equal(np.load(tmp_path / "result.npy"), np.eye(2))
    never = {"contraction": candidates["contraction"], "slow": lambda: pytest.fail("a slower one is not tried")}
    assert neural_tangents_peer.fastest(never, str(tmp_path))[::2] == ("contraction", {})
    with pytest.raises(RuntimeError, match="structured: AttributeError: module"):
        neural_tangents_peer.fastest({"structured": broken}, str(tmp_path))


def test_peer_script_needs_nothing_of_the_package():
    source = Path(neural_tangents_peer.__file__).read_text()
    assert "import gatentk" not in source
    assert "from gatentk" not in source
    command = [sys.executable, "-I", neural_tangents_peer.__file__]
    answer = subprocess.run(command, input="{}\n", capture_output=True, text=True, check=True).stdout
    assert json.loads(answer) == {"error": "KeyError: 'threads'"}
