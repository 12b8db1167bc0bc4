"""What the compiler made of the CUDA kernels: registers, spills, occupancy, and the instructions of their loops.

    python tools/cuda_static.py resources [--write]     table of kernels and architectures, docs/cuda-resources.csv
    python tools/cuda_static.py cores                   instructions of the main loops, by pipe
    python tools/cuda_static.py roofline                predicted times of Gram matrices on an A100 and an H100
    python tools/cuda_static.py blocks                  the same of products with block gates, beside cuBLAS
    python tools/cuda_static.py prototypes              and of tools/block_gates_triton.py, as Triton 3.6 compiles it

All but the last read a built module `gatentk._cuda`, with NVIDIA's cuobjdump (PyPI: nvidia-cuda-cuobjdump); no GPU is
needed. The work is done in `tools/sass`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from sass import blocks, gram, loops, prototypes
from sass.resources import resource_table

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "cuda-resources.csv"


def block_lines() -> Iterator[str]:
    """Three tables: what limits products, ratios by shape, and from how many samples on they are worth it."""
    kernels = blocks.Kernels()
    for table in (blocks.details, blocks.ratios, blocks.thresholds):
        yield from table(kernels)
        yield ""


def write_resources() -> Iterator[str]:
    """Replaces the table of the documents."""
    aside = TABLE.with_suffix(".tmp")
    aside.write_text(resource_table())
    aside.replace(TABLE)
    yield f"{TABLE.relative_to(ROOT)} written"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    resources = commands.add_parser("resources", help="registers, spills, shared memory and occupancy")
    resources.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(ROOT)}")
    commands.add_parser("cores", help="instructions of the main loops, by pipe")
    commands.add_parser("roofline", help="predicted times of Gram matrices on two devices")
    commands.add_parser("blocks", help="predicted times of products with block gates on two devices")
    commands.add_parser("prototypes", help="the same of the prototypes in Triton; needs Triton")
    arguments = parser.parse_args()
    if arguments.command == "resources":
        lines = write_resources() if arguments.write else iter(resource_table().splitlines())
    else:
        tables = {"cores": loops.lines, "roofline": gram.lines, "blocks": block_lines, "prototypes": prototypes.lines}
        lines = iter(tables[arguments.command]())
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
