"""Claims and points of the kernels by depth, from plain numbers."""

from cases.experiments import findings_of

from gatentk.papers.conditioning import EXPERIMENT


def claims(settings, numbers):
    return {claim.statement: claim for claim in findings_of(EXPERIMENT, settings, numbers).claims}


def claim(settings, numbers, *words):
    (found,) = [c for text, c in claims(settings, numbers).items() if all(word in text for word in words)]
    return found


def point(numbers, depth, activation="relu", name="synthetic", part="all"):
    """One depth of a line at infinite width, of single cells or of one for all depths."""
    points = [
        p
        for key, found in numbers.items()
        if key.startswith(f"{name} {part} infinite {activation} ")
        for p in found["points"]
        if p["depth"] == depth
    ]
    return points[0]


def change(point, quantity, value):
    """One network's value, so without a range."""
    point |= {quantity: value, f"{quantity}_low": value, f"{quantity}_high": value}
