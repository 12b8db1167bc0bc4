"""Colours that can be told apart."""

from matplotlib.colors import to_rgb

from gatentk.activations import MODELS
from gatentk.papers.frame.colours import COLOURS, shades


def test_every_model_has_a_colour_of_its_own():
    assert COLOURS.keys() == set(MODELS)
    assert len(set(COLOURS.values())) == len(MODELS)


def test_shades_become_darker():
    lightness = [sum(colour[:3]) for colour in shades(5)]
    assert lightness == sorted(lightness, reverse=True)
    assert len(shades(1)) == 1


def test_shades_can_be_seen_on_white_and_on_a_dark_page():
    for colour in shades(6):
        for page in (luminance("#ffffff"), luminance("#15171b")):
            light, dark = sorted((luminance(colour), page), reverse=True)
            assert (light + 0.05) / (dark + 0.05) > 1.8


def luminance(colour):
    """Of WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
