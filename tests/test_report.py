import csv
import io
import json
import math
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from gatentk import data, report, study
from gatentk.reporting.figures import render
from gatentk.reporting.text import number
from gatentk.study import Config

ENVIRONMENT = {"gatentk": "0", "threads": 1}


def finished(**options):
    """A finished study of digits that takes a fraction of a second."""
    options = {"data": "digits", "n": 24, "depths": (0, 1, 3), "width": 16, "seeds": 2, **options}
    config = Config(**options)
    samples = study.prepare(config)
    records = [record for _, records in study.run(config, samples) for record in records]
    return report.Study(config, samples, records, ENVIRONMENT)


@pytest.fixture(scope="module")
def synthetic():
    """More samples than features: linear networks are not resolved."""
    return finished(data="synthetic", n=30, subset=12)


@pytest.fixture(scope="module")
def batches():
    return finished(batch=8, subset=16, n=40)


def record(**changes):
    values = dict.fromkeys(study.FIELDS)
    values |= {"kind": "finite", "activation": "relu", "depth": 1, "rows": "all", "samples": 9, "seed": 0}
    values |= {"min_angle": 10.0, "lmin": 1.0, "lmax": 100.0, "floor": 1e-12, "resolved": True}
    values |= {"condition": 100.0, "condition_bound": 100.0}
    return study.Record(**(values | changes))


# Averages


def test_conditions_are_averaged_geometrically_and_angles_arithmetically():
    records = [
        record(seed=seed, batch=batch, condition=c, condition_bound=c, min_angle=a)
        for seed, batch, c, a in [(0, 0, 10.0, 1.0), (0, 1, 1000.0, 3.0), (1, 0, 4.0, 6.0), (1, 1, 25.0, 8.0)]
    ]
    point = report._point(records)
    assert (point.condition_low, point.condition_high) == pytest.approx((10.0, 100.0))
    assert point.condition == pytest.approx(math.sqrt(1000.0))
    assert (point.angle, point.angle_low, point.angle_high) == (4.5, 2.0, 7.0)
    assert (point.resolved, point.kernels, point.unresolved) == (True, 4, 0)


def test_one_unresolved_kernel_makes_the_mean_a_lower_bound():
    lost = record(seed=1, lmin=0.0, resolved=False, condition=None, condition_bound=1e14)
    point = report._point([record(), lost])
    assert not point.resolved
    assert point.unresolved == 1
    assert point.condition == pytest.approx(1e8)
    assert report.condition_text(point) == "≥ 1.00 × 10⁸"


def test_series_separate_widths_samples_and_activations(synthetic):
    found = [(s.kind, s.rows, s.activation, s.label) for s in synthetic.series]
    assert found == [
        ("infinite", "all", "relu", "infinite width, 30 samples"),
        ("infinite", "all", "linear", "infinite width, 30 samples"),
        ("infinite", "subset", "relu", "infinite width, 12 samples"),
        ("infinite", "subset", "linear", "infinite width, 12 samples"),
        ("finite", "subset", "relu", "width 16, 12 samples"),
        ("finite", "subset", "linear", "width 16, 12 samples"),
    ]
    assert all([p.depth for p in s.points] == [0, 1, 3] for s in synthetic.series)


# Words


def test_the_headline_has_the_key_numbers(synthetic):
    relu, linear, unresolved = report.headline(synthetic.config, synthetic.samples, synthetic.series)
    first, last = synthetic.series[0].points[0], synthetic.series[0].points[-1]
    assert f"grows from {number(first.angle)}° at depth 0 to {number(last.angle)}° at depth 3" in relu
    assert "is not resolved at depth 0." in relu
    assert "at every depth; the condition number is not resolved at any depth, but at least" in linear
    assert "with 30 samples and 5 features the kernel is singular" in unresolved


def test_a_headline_without_unresolved_values_has_no_excuses(batches):
    sentences = report.headline(batches.config, batches.samples, batches.series)
    assert len(sentences) == 2
    assert "on mini-batches of 8" in sentences[0]
    assert re.search(r"falls from [\d,.]+ at depth 0 to [\d,.]+ at depth 3", sentences[0])


def test_notes_count_repeated_and_dropped_rows(monkeypatch):
    import torch

    rows = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 2, 2]])
    monkeypatch.setattr(data, "load", lambda *_, **__: SimpleNamespace(x=rows.double(), y=None, name="rows"))
    found = finished(drop_zero_rows=True, depths=(0, 1))
    text = " ".join(report.notes(found.config, found.samples, found.series))
    assert "1 all-zero rows were left out" in text
    assert "One row is equal to an earlier one: their angle is zero" in text
    found = finished(drop_zero_rows=True, drop_duplicates=True, depths=(0, 1))
    text = " ".join(report.notes(found.config, found.samples, found.series))
    assert "1 rows equal to an earlier one were left out" in text
    assert "Two different rows point in exactly the same direction" in text


# Files


def test_csv_and_json_hold_every_record(tmp_path, synthetic):
    report.write(tmp_path, synthetic)
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["schema"] == report.SCHEMA
    assert document["data"]["samples"] == 30
    assert [study.Record(**entry) for entry in document["records"]] == synthetic.records
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(synthetic.records)
    for row, expected in zip(rows, synthetic.records, strict=True):
        assert row["resolved"] == ("true" if expected.resolved else "false")
        assert row["condition"] == ("" if expected.condition is None else repr(expected.condition))
        assert (float(row["lmin"]), float(row["min_angle"])) == (expected.lmin, expected.min_angle)
        assert float(row["condition_bound"]) == expected.condition_bound


def test_unresolved_values_are_null_beside_their_bound(synthetic):
    entries = json.loads(report.document_text(synthetic))["records"]
    unresolved = [entry for entry in entries if not entry["resolved"]]
    assert unresolved
    assert all(e["condition"] is None and e["condition_bound"] >= e["lmax"] / e["floor"] * 0.99 for e in unresolved)


def test_all_files_are_written_and_nothing_else(tmp_path, batches):
    assert report.write(tmp_path, batches) == tmp_path / "report.html"
    names = {"angle.png", "angle.svg", "condition.png", "condition.svg", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"results.csv", "results.json"}
    assert (tmp_path / "angle.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "angle.svg").read_bytes().startswith(b"<?xml")


def test_the_same_study_gives_the_same_files(batches):
    first, second = report.draw(batches), report.draw(batches)
    for name in ("angle", "condition"):
        assert render(first[name], "svg") == render(second[name], "svg")
    assert report.html([batches]) == report.html([batches])


# Plots


def lines_and_arrows(axes):
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) and line.get_linestyle() != "None"]
    arrows = [bars for bars in axes.containers if bars.has_yerr]
    return lines, arrows


def test_unresolved_values_are_arrows_and_not_lines(synthetic):
    axes = report.draw(synthetic)["condition"].axes[0]
    lines, arrows = lines_and_arrows(axes)
    resolved = {(s.kind, s.rows): s for s in synthetic.series if s.activation == "relu"}
    assert len(lines) == len(resolved) == 3
    for line, series in zip(lines, resolved.values(), strict=True):
        assert list(line.get_xdata()) == [1, 3]
        assert list(line.get_ydata()) == [p.condition for p in series.points[1:]]
    drawn = sum(len(bars.lines[0].get_xdata()) for bars in arrows)
    assert drawn == sum(not p.resolved for s in synthetic.series for p in s.points) == 3 * (1 + 3)
    assert "at least" in report.draw(synthetic)["condition"].legends[0].get_texts()[-1].get_text()


def test_relu_is_solid_linear_dashed_and_seeds_make_a_band(batches):
    axes = report.draw(batches)["angle"].axes[0]
    lines, arrows = lines_and_arrows(axes)
    assert not arrows
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 3
    assert len(axes.collections) == 2
    assert axes.get_ylim()[0] == 0
    assert [line.get_color() for line in lines[::2]] == list(report.COLOURS.values())


def test_labels_are_grouped_and_moved_apart():
    assert report._groups([0.1, 0.2, 0.5, 0.6, 0.7], 0.15) == [[0.1, 0.2], [0.5, 0.6, 0.7]]
    assert report._spread([0.1, 0.5], 0.1) == pytest.approx([0.1, 0.5])
    assert report._spread([0.5, 0.52, 0.6, 0.95], 0.1) == pytest.approx([0.44, 0.54, 0.64, 0.95])
    assert report._spread([], 0.1) == []


@pytest.mark.parametrize(
    "options",
    [
        {"depths": (2,), "width": None},
        {"seeds": 1, "infinite": False, "activations": ("linear",)},
        {"width": 1, "depths": (0, 4), "infinite": False},
    ],
    ids=["one depth", "one line", "zero gradients"],
)
def test_small_studies_are_drawn_too(options):
    page = report.html([finished(**options)])
    assert "</html>" in page


# The report


class Page(HTMLParser):
    """Collects what a page refers to, its ids and its text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.references, self.ids, self.tags, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.references += [values[name] for name in ("src", "href", "xlink:href", "data") if name in values]
        self.references += [m for value in values.values() for m in re.findall(r"url\(([^)]*)\)", value or "")]
        self.ids += [values["id"]] if "id" in values else []

    def handle_data(self, data):
        self.text += data


def test_the_report_needs_nothing_but_itself(synthetic, batches):
    text = report.html([synthetic, batches], "Both")
    page = Page(text)
    assert page.references
    assert {reference[0] for reference in page.references} == {"#"}
    assert len(page.ids) == len(set(page.ids))
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    assert page.tags.count("svg") == 4
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "http" not in text
    assert "@import" not in text


def test_the_report_says_what_was_computed(synthetic):
    page = Page(report.html([synthetic]))
    for sentence in report.headline(synthetic.config, synthetic.samples, synthetic.series):
        assert sentence in page.text
    for series in synthetic.series:
        for point in series.points:
            assert report.angle_text(point) in page.text
            assert report.condition_text(point) in page.text
    assert report.command_line(synthetic.config) in page.text
    assert "drawn at random from the 30" in page.text


def test_colours_in_the_report_follow_its_style(synthetic):
    drawings = re.findall(r"<svg.*?</svg>", report.html([synthetic]), flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) == set()
        assert "currentColor" in drawing
        assert "var(--finite)" in drawing


def test_names_are_escaped(monkeypatch, tmp_path):
    path = tmp_path / "<b>$\\x_1$&.csv"
    path.write_text("1,2,3\n3,1,4\n0,5,7\n")
    text = report.html([finished(data=f"csv:{path}", n=None, depths=(0,), width=None)])
    page = Page(text)
    assert "b" not in page.tags
    assert "<b>$\\x_1$&.csv" in page.text


def test_certificates_are_counted():
    found = finished(n=10, certify=True, width=None, depths=(1,))
    assert "2 of 2 kernels are proved positive definite" in Page(report.html([found])).text


def test_csv_text_of_no_records_is_a_header():
    assert list(csv.reader(io.StringIO(report.table_text([])))) == [list(study.FIELDS)]
