"""Colours that can be told apart."""

from gatentk.activations import MODELS
from gatentk.papers.frame.colours import COLOURS, shades


def test_every_model_has_a_colour_of_its_own():
    assert COLOURS.keys() == set(MODELS)
    assert len(set(COLOURS.values())) == len(MODELS)


def test_shades_become_darker():
    lightness = [sum(colour[:3]) for colour in shades(5)]
    assert lightness == sorted(lightness, reverse=True)
    assert len(shades(1)) == 1
