"""The command `gatentk info`."""

import re
from pathlib import Path

from cases.commands import invoke

import gatentk
from gatentk.cli.info import openmp_runtimes


def test_info_tells_what_is_in_use():
    outcome = invoke("info")
    assert outcome.exit_code == 0
    assert gatentk.__version__ in outcome.output
    assert gatentk.ops.isa() in outcome.output
    assert re.search(r"CUDA +(kernels for sm_|no CUDA kernels: )", outcome.output)


def test_openmp_runtimes_are_read_from_the_map_of_the_process(tmp_path):
    if Path("/proc/self/maps").exists():
        assert openmp_runtimes()
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 08:01 5 /usr/lib/libgomp.so.1.0.0\n"
        "7f01-7f02 r--p 00000000 08:01 5 /usr/lib/libgomp.so.1.0.0\n"
        "7f02-7f03 r-xp 00000000 08:01 6 /opt/my libs/libgomp-a34b3233.so.1\n"
        "7f03-7f04 r-xp 00000000 08:01 7 /usr/lib/libiomp5.so\n"
        "7f04-7f05 r-xp 00000000 08:01 8 /usr/lib/libgomponent.so\n"
        "7f05-7f06 rw-p 00000000 00:00 0\n"
    )
    assert openmp_runtimes(maps) == [
        "/opt/my libs/libgomp-a34b3233.so.1",
        "/usr/lib/libgomp.so.1.0.0",
        "/usr/lib/libiomp5.so",
    ]
    assert openmp_runtimes(tmp_path / "missing") == []
