"""The report: everything in one file, and all that was computed."""

import re
from html.parser import HTMLParser

import pytest
from cases.studies import finished

from gatentk.study.folder import write
from gatentk.study.page import html
from gatentk.study.sentences import angle_text, condition_text, headline


@pytest.fixture(scope="module")
def synthetic():
    """More samples than features: linear networks are not resolved."""
    return finished(data="synthetic", n=30, subset=12)


@pytest.fixture(scope="module")
def batches():
    return finished(batch=8, subset=16, n=40)


def test_all_files_are_written_and_nothing_else(tmp_path, batches):
    write(tmp_path, batches)
    names = {"angle.png", "angle.svg", "condition.png", "condition.svg", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"results.csv", "results.json"}
    assert (tmp_path / "angle.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "angle.svg").read_bytes().startswith(b"<?xml")


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
    page = html([finished(**options)])
    assert "</html>" in page


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
    text = html([synthetic, batches], "Both")
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
    page = Page(html([synthetic]))
    for sentence in headline(synthetic.config, synthetic.samples, synthetic.series):
        assert sentence in page.text
    for series in synthetic.series:
        for point in series.points:
            assert angle_text(point) in page.text
            assert condition_text(point) in page.text
    assert synthetic.command in page.text
    assert "drawn at random from the 30" in page.text
    assert "Samples for finite width12" in page.text


def test_colours_in_the_report_follow_its_style(synthetic):
    drawings = re.findall(r"<svg.*?</svg>", html([synthetic]), flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) == set()
        assert "currentColor" in drawing
        assert "var(--orange)" in drawing


def test_names_are_escaped(monkeypatch, tmp_path):
    path = tmp_path / "<b>$\\x_1$&.csv"
    path.write_text("1,2,3\n3,1,4\n0,5,7\n")
    text = html([finished(data=f"csv:{path}", n=None, depths=(0,), width=None)])
    page = Page(text)
    assert "b" not in page.tags
    assert "<b>$\\x_1$&.csv" in page.text


def test_certificates_are_counted():
    found = finished(n=10, certify=True, width=None, depths=(1,))
    assert "2 of 2 kernels are proved positive definite" in Page(html([found])).text


def test_the_same_study_gives_the_same_page(batches):
    assert html([batches]) == html([batches])
