"""Changed bytes in files of every kind: an error of the package or the content, never another exception or a hang.

The short run mutates whole files; the long one lets atheris look for a minute a reader, guided by what it reaches.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from cases import fuzzing
from hypothesis import given, settings
from hypothesis import strategies as st

MINUTE = 60
TARGET = Path(__file__).with_name("target.py")

# Bytes that formats give a meaning.
WORDS = [
    *(
        b"\0",
        b"\xff",
        b"\n",
        b"\r",
        b'"',
        b",",
        b";",
        b"\t",
        b"(",
        b"d",
        b"R",
        b"}",
        b"{",
        b"[",
        b"NaN",
        b"-",
        b"1e999",
    ),
    *(b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0" * 8, b"\xef\xbb\xbf", b"\xff\xfe", b"9" * 30, b"PK\x03\x04"),
]


@st.composite
def mutations(draw):
    """Changes of a file, by places as shares of its length."""
    place = st.floats(0, 1)
    kinds = {
        "flip": st.tuples(place, st.integers(0, 7)),
        "set": st.tuples(place, st.integers(0, 255)),
        "insert": st.tuples(place, st.sampled_from(WORDS)),
        "cut": st.tuples(place, st.integers(1, 16)),
        "end": st.tuples(place, st.none()),
        "repeat": st.tuples(place, st.integers(1, 64)),
    }
    kind = st.sampled_from(sorted(kinds)).flatmap(lambda name: st.tuples(st.just(name), kinds[name]))
    return draw(st.lists(kind, min_size=1, max_size=4))


def mutated(content, changes):
    data = bytearray(content)
    for kind, (place, value) in changes:
        at = min(int(place * len(data)), max(len(data) - 1, 0))
        if kind == "insert":
            data[at:at] = value
        elif not data:
            continue
        elif kind == "flip":
            data[at] ^= 1 << value
        elif kind == "set":
            data[at] = value
        elif kind == "cut":
            del data[at : at + value]
        elif kind == "end":
            del data[at:]
        else:
            data[at:at] = data[at : at + value]
    return bytes(data)


@pytest.mark.parametrize("name", fuzzing.READERS)
def test_whole_files_are_read(tmp_path, name):
    """A seed that is refused would lead fuzzing nowhere."""
    for content in fuzzing.seeds(name, tmp_path)[:1]:
        path = tmp_path / "file"
        path.write_bytes(content)
        fuzzing.READERS[name](path)


@pytest.mark.parametrize("name", fuzzing.READERS)
def test_changed_files_are_read_or_refused(tmp_path, name):
    files = fuzzing.seeds(name, tmp_path)

    @settings(max_examples=60)
    @given(st.sampled_from(files), mutations())
    def check(content, changes):
        fuzzing.read(name, mutated(content, changes), tmp_path)

    check()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="pip install atheris, where there is a wheel of it")
@pytest.mark.parametrize("name", fuzzing.READERS)
def test_a_minute_of_guided_fuzzing_finds_nothing(tmp_path, name):
    command = [sys.executable, str(TARGET), name, str(tmp_path), str(MINUTE)]
    paths = os.pathsep.join([str(TARGET.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths}
    run = subprocess.run(command, capture_output=True, text=True, timeout=10 * MINUTE, check=False, env=environment)
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
