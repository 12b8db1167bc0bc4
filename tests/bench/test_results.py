import json
from dataclasses import replace

import torch
from cases.benchmark import measurement
from rich.console import Console

from gatentk.bench import results
from gatentk.bench.case import Work
from gatentk.bench.cases import CASES
from gatentk.ops import isa


def test_texts():
    assert results.time_text(1234.5) == "1234 s"
    assert results.time_text(0.0123) == "12.3 ms"
    assert results.time_text(5e-7) == "0.50 us"
    assert results.time_text(0.5, 1.5) == "0.50 - 1.50 s"
    assert results.ratio_text(3.456, 123.4) == "3.46 - 123x"
    assert results.ratio_text(0.01234, 0.0999) == "0.0123 - 0.10x"


def test_table_shows_medians_ranges_ratios_and_what_was_asked():
    lower = replace(CASES[0], name="two", better="lower", at_least=1.3, aim=1.1)
    rows = [measurement(), measurement(case=lower), measurement(peer=(), peer_name="", difference=None)]
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(results.table(rows))
    text = console.export_text()
    for expected in ("2.00 s", "1.00 - 3.00 s", "8.00 s", "6.00 - 9.00 s", "differs 1.0e-15", "n=2000 d=5 L=10"):
        assert expected in text
    for expected in ("4.00x", "2.00 - 8.00x", ">= 3x", "aim 5x", "4.00 dense", "1.00 done", "25% of 4"):
        assert expected in text
    for expected in ("0.25x", "ours/peer", "<= 1.3x", "(closed"):
        assert expected in text


def test_table_says_nothing_of_operations_that_are_not_floating_point():
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(results.table([measurement(work=Work(dense=8e9, performed=0))]))
    text = console.export_text().split("Times are medians")[0]
    assert "4.00 dense" in text
    assert "done" not in text


def test_document_is_plain_json_with_every_case():
    rows = [measurement(), measurement(peer=(), peer_name="", versions={}, difference=None, peak=0.0)]
    document = json.loads(json.dumps(results.document(rows, 0.25), allow_nan=False))
    assert document["schema"] == "gatentk/bench/1"
    environment = document["environment"]
    assert environment["instruction_set"] == isa()
    assert environment["load_before"] == 0.25
    assert environment["threads"] == torch.get_num_threads()
    assert set(environment["peak_flop_per_second"]) == {"float32", "float64"}
    first, second = document["cases"]
    assert first["ratio"] == 4.0
    assert (first["ratio_min"], first["ratio_max"], first["verdict"]) == (2.0, 8.0, "at least")
    assert first["shape"] == {"n": 2000, "d": 5, "width": 0, "depth": 10}
    assert first["peer_versions"] == {"jax": "0.4.28"}
    assert second["ratio"] is second["peer_median"] is second["share_of_peak"] is None
    assert first.keys() == second.keys()


def test_rows_and_lines_name_implementation_versions_and_what_did_not_run():
    m = measurement(peer_name="Jacobian contraction", missing=("structured derivatives",))
    missing = "structured derivatives, faster where they run, could not be run"
    assert results.line(m) == ("one: 2.00 s, peer 8.00 s by Jacobian contraction, jax 0.4.28, ratio 4.00x; " + missing)
    console = Console(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(results.table([m]))
    assert f"(Jacobian contraction); jax 0.4.28; {missing}" in console.export_text()
    assert results.document([m])["cases"][0]["peer_missing"] == ["structured derivatives"]
    assert results.line(measurement(peer=(), peer_name="", versions={}, difference=None)) == "one: 2.00 s, no peer"


def test_the_row_of_extreme_eigenvalues_says_that_the_peer_computes_all():
    assert "all eigenvalues" in next(case.peer for case in CASES if case.name == "spectrum-f64")


def test_notes_are_said_once():
    other = measurement(case=replace(CASES[0], name="two"), notes=("a note", "of two"))
    assert results.notes([measurement(), other]) == ["a note", "two: of two"]
