"""The plot style: what a reader sees along the axes."""

import re

import pytest

from gatentk.reporting import figures
from gatentk.reporting.style import INK


def labels(low, high):
    figure, (axes,) = figures.panels([("Title", "$5 for a_b")], [("x", "y")])
    axes.plot([0, 1], [low, high])
    figures.logarithmic(axes)
    figure.canvas.draw()
    texts = [label.get_text() for minor in (False, True) for label in axes.yaxis.get_ticklabels(minor=minor)]
    return {text for text in texts if text}


@pytest.mark.parametrize(
    ("low", "high", "seen", "unseen"),
    [
        (0.03, 300, {"0.1", "1", "10", "100"}, {"0.2", "$\\mathdefault{10^{0}}$"}),
        (0.25, 2.2, {"0.3", "0.4", "0.6", "1", "2"}, {"3 \\times"}),
        (2e-6, 2e7, {"0.001", "1", "1,000", "$\\mathdefault{10^{-6}}$", "$\\mathdefault{10^{6}}$"}, {"10"}),
    ],
)
def test_logarithmic_axes_have_plain_numbers_where_they_are_short(low, high, seen, unseen):
    found = labels(low, high)
    assert seen & found, found
    assert not unseen & found, found
    assert not [text for text in found if "times" in text], found


def test_dollar_signs_are_text():
    figure, (axes,) = figures.panels([("Title", "$5 for a_b")], [("x", "y")])
    figure.canvas.draw()
    assert "$5 for a_b" in [text.get_text() for text in axes.texts]


def test_panels_are_side_by_side_with_their_labels():
    figure, axes = figures.panels([("A", ""), ("B", "")], [("x", "y"), ("u", "v")])
    assert [a.get_xlabel() for a in axes] == ["x", "u"]
    assert [a.get_ylabel() for a in axes] == ["y", "v"]
    assert figure.get_figwidth() == pytest.approx(8.8)


def test_every_figure_is_two_files():
    drawn = []

    def draw():
        drawn.append(figures.panels([("A", "")], [("x", "y")])[0])
        return {"loss": drawn[0]}

    files, failures = figures.rendered(draw)
    (figure,) = drawn
    assert not failures
    assert files == {"loss.png": figures.render(figure, "png"), "loss.svg": figures.render(figure, "svg")}


def test_all_text_has_the_ink_of_the_page_whatever_draws_it():
    def draw():
        figure, (axes,) = figures.panels([("A", "below")], [("x", "y")])
        axes.plot([1e-9, 3e-9], label="line")
        axes.annotate("note", (0, 2e-9))
        figures.legend(axes, title="Title of the legend")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
        figures.integers(axes)
        return {"a": figure}

    svg = figures.rendered(draw).files["a.svg"].decode()
    texts = re.findall(r'<g id="text_\d+">\s*<!-- (.*?) -->\s*<g ([^>]*)>', svg)
    shown = {text for text, _ in texts}
    assert {"A", "below", "x", "y", "line", "note", "Title of the legend"} <= shown
    assert not [text for text, style in texts if f"fill: {INK}" not in style]
