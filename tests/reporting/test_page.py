"""Pages that need nothing but themselves."""

import re

import pytest
from jinja2 import UndefinedError

from gatentk.reporting.figures import panels, render
from gatentk.reporting.page import inline_svg, template
from gatentk.reporting.style import BLUE, INK, VARIABLES


@pytest.fixture(scope="module")
def svg():
    figure, (axes,) = panels([("Title", "a subtitle")], [("x", "y")])
    axes.plot([0, 1], [1, 2], color=BLUE)
    return render(figure, "svg")


def test_a_drawing_in_a_page_takes_colours_and_width_from_it(svg):
    text = inline_svg(svg, "a-")
    assert text.startswith("<svg")
    assert 'aria-hidden="true"' in text
    assert not re.search(r'<svg[^>]* (width|height)="', text)
    assert BLUE not in text
    assert INK not in text
    assert VARIABLES[BLUE] in text
    assert "<metadata>" not in text
    assert "http" not in text


def test_two_drawings_in_a_page_share_no_id(svg):
    first, second = (set(re.findall(r'\bid="([^"]+)"', inline_svg(svg, prefix))) for prefix in ("a-", "b-"))
    assert first
    assert not first & second
    assert {name.removeprefix("a-") for name in first} == {name.removeprefix("b-") for name in second}
    text = inline_svg(svg, "a-")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert used <= first


def test_colours_of_a_page_are_defined_in_its_style(svg):
    page = template("report.html").render(title="<T>", sections=[], environment={"cpu": "<y>"})
    for variable in VARIABLES.values():
        name = variable.removeprefix("var(").removesuffix(")")
        assert variable == "currentColor" or page.count(f"{name}: #") == 2  # for the light and for the dark


def test_text_is_escaped_and_nothing_may_be_missing():
    page = template("report.html").render(title="<T>", sections=[], environment={"cpu": "<y>"})
    assert "&lt;T&gt;" in page
    assert "&lt;y&gt;" in page
    with pytest.raises(UndefinedError):
        template("report.html").render(title="T", sections=[])
