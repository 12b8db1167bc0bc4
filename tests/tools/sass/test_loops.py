"""Tables of the instructions of main loops."""

from collections import Counter

from sass import loops
from sass.pipes import Core, Work
from sass.reading import Kernel

ENTRY = {"name": "t", "arithmetic": "tf32", "tile_rows": 64, "tile_columns": 32, "threads": 64}


class Module:
    @staticmethod
    def block_matmul_configurations():
        return [ENTRY | {"kernels": ["rows<0>", "rows<0, 1>"]}, {"name": "lists", "kernels": ["lists"]}]


def test_products_have_tiles():
    found = loops.product_tiles(Module)
    assert [(name, family, tile.rows) for name, (family, tile) in found.items()] == [
        ("rows<0>", "block_matmul", 64),
        ("rows<0, 1>", "block_matmul", 64),
    ]


def test_the_table_has_shares_of_the_tensor_cycles_with_and_without_copies():
    work, copies = Work(Counter(tensor32=10, integer=20)), Work(Counter(shared=20))
    cores = {("rows<0>", 80): Core(Kernel("rows<0>", 80), work, copies)}
    assert list(loops.table(loops.product_tiles(Module), cores)) == [
        "| kernel | sm_80 | sm_90 | sm_100 |",
        "| --- | --- | --- | --- |",
        "| block_matmul t | 25%, 50% | - | - |",
        "| block_matmul t, input gradient | - | - | - |",
    ]
    line = loops.line(cores["rows<0>", 80])
    assert line.split()[:6] == ["rows<0>", "80", "30", "80", "25%", "50%"]
    assert line.endswith("integer:20 tensor32:10")
