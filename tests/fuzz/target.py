"""Guided fuzzing of a reader: `PYTHONPATH=tests python tests/fuzz/target.py NAME FOLDER SECONDS`.

What it finds is left in the folder.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gatentk", "zipfile", "pickle", "csv", "numpy.lib"]):
    from cases import fuzzing


def main(name, folder, seconds):
    """Fuzz until the time is over or something is found."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder))
    for index, content in enumerate(fuzzing.seeds(name, scratch)):
        (corpus / f"seed-{index}").write_bytes(content)
    # Ten seconds for a file of 64 KiB and two GiB of memory are a hang and a bomb.
    limits = ["-max_len=65536", "-timeout=10", "-rss_limit_mb=2048", f"-max_total_time={seconds}"]
    arguments = [sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(corpus)]
    atheris.Setup(arguments, lambda content: fuzzing.read(name, content, scratch))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
