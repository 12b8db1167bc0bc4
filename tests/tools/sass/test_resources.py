"""The table of resources is that of what was compiled."""

import csv
import importlib
import re

import cuda_static
import pytest
from sass.reading import toolkit
from sass.resources import configurations, resource_table


def checked_in(text):
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def test_resources_are_those_of_the_table(built):
    committed = cuda_static.TABLE.read_text()
    version = re.match(r"# nvcc ([0-9.]+)", committed)[1]
    if toolkit() != version:
        pytest.skip(f"the table is of nvcc {version}, this is {toolkit() or 'another compiler'}")
    found = {(row["kernel"], row["sm"]): row for row in checked_in(resource_table())}
    expected = {(row["kernel"], row["sm"]): row for row in checked_in(committed)}
    architectures = {sm for _, sm in found}
    assert found == {key: row for key, row in expected.items() if key[1] in architectures}


def test_configurations_claim_no_more_resident_blocks_than_fit(built):
    blocks = {(row["kernel"], int(row["sm"])): int(row["blocks"]) for row in checked_in(cuda_static.TABLE.read_text())}
    checked = 0
    for family, entries in configurations(importlib.import_module("gatentk._cuda")).items():
        for entry in entries:
            for architecture, resident in entry.get("resident", {}).items():
                if architecture == 100 and family.startswith("block_"):
                    continue  # sm_90's number, which weighs tiles; no product is known to pay on sm_100
                for kernel in entry["kernels"]:
                    assert resident <= blocks[kernel, architecture], (family, entry["name"], architecture)
                    checked += 1
    assert checked


def test_families_are_those_that_list_configurations():
    class Module:
        @staticmethod
        def gram_configurations():
            return [{"name": "a"}]

        @staticmethod
        def choose_gram():
            raise AssertionError

    assert configurations(Module) == {"gram": [{"name": "a"}]}
