"""Experiments: one that takes no time and has one of everything, and all cells of any."""

import json
import math
import random
import time
from dataclasses import dataclass, field
from typing import get_type_hints

from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale, UserFile
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.papers.frame.result import Result
from gatentk.reporting import figures
from gatentk.runs.plain import from_json, to_json


@dataclass(frozen=True)
class ToySettings:
    cells: int = 3
    paths: dict[str, UserFile] = field(default_factory=dict)


@dataclass(frozen=True)
class ToyNumbers:
    """A tuple, and keys that are no strings: what JSON gives back is a list and strings."""

    value: float
    pair: tuple[int, int | None]
    by: dict[int, float]


@dataclass(frozen=True)
class ToyCell(Cell[ToySettings, ToyNumbers]):
    index: int
    toy: "Toy" = field(compare=False, default=None)

    KEY = "cell {index}"

    def cost(self, settings):
        return float(self.index + 1)

    def compute(self, settings) -> ToyNumbers:
        return self.toy.compute(settings, self)


class Toy(Experiment[ToySettings]):
    name = "toy"
    title = "A toy & its <claims>"
    source = "[T, Thm 1]"
    delay = 0.0

    def __init__(self, name="toy", bytes_needed=0, seconds=0.0):
        self.name = name
        self.computed = []
        self.estimate = (bytes_needed, seconds)

    def settings(self, scale):
        return ToySettings(5 if scale.full else 3, {name: UserFile(path) for name, path in scale.paths.items()})

    def cells(self, settings):
        return [ToyCell(index, self) for index in range(settings.cells)]

    def compute(self, settings, cell):
        time.sleep(self.delay)
        self.computed.append(cell.key)
        return ToyNumbers(random.Random(cell.index).random(), (cell.index, None), {cell.index: 1.5})

    def findings(self, settings, results):
        values = [results[cell].value for cell in self.cells(settings)]
        assert all(isinstance(results[ToyCell(i)].by[i], float) for i in range(settings.cells))
        claims = [
            Claim("[T, a]", "Values are below one & positive.", f"largest {max(values):.3f}", max(values) < 1),
            Claim("[T, b]", "Values are above one.", f"largest {max(values):.3f}", max(values) > 1),
            Claim("[T, c]", "Values are random.", "nothing to see", None),
        ]

        def draw():
            figure, (axes,) = figures.panels([("Values", "by cell")], [("Cell", "Value")])
            axes.plot(values)
            return [Plot("toy-plot", "Values <by> cell.", figure)]

        rows = [[i, v, v > 0.5, None if i else "text, with comma"] for i, v in enumerate(values)]
        long = [[i, math.sqrt(i)] for i in range(100)]
        tables = [
            Table("toy-values", "Values", ["cell", "value", "large", "note"], rows),
            Table("toy-long", "Long one", ["i", "root"], long),
        ]
        return Findings(claims, draw, tables, ["One <remark>."])

    def needs(self, settings):
        return self.estimate


def finished(toy):
    """The result of an experiment without a folder."""
    settings = toy.settings(Scale())
    numbers = {cell.key: toy.compute(settings, cell) for cell in toy.cells(settings)}
    seconds, environment = dict.fromkeys(numbers, 0.5), {"gatentk": "x", "cpu": "<y>"}
    return Result(toy, settings, numbers, seconds, environment, f"gatentk paper {toy.name} --out DIR")


def computed(experiment, settings):
    """The numbers of all cells by key."""
    return {cell.key: cell.compute(settings) for cell in experiment.cells(settings)}


def settings_of(experiment, document):
    """Settings from plain data."""
    return from_json(get_type_hints(experiment.settings)["return"], json.loads(json.dumps(document)), "settings")


def plain_numbers(experiment, document):
    """The numbers of all cells by key, and from settings, as plain data: what the files of a run hold."""
    return json.loads(json.dumps(to_json(computed(experiment, settings_of(experiment, document))), allow_nan=False))


def plain_numbers_of(experiment, document, key):
    """Those of one cell."""
    settings = settings_of(experiment, document)
    (cell,) = [cell for cell in experiment.cells(settings) if cell.key == key]
    return json.loads(json.dumps(to_json(cell.compute(settings)), allow_nan=False))


def findings_of(experiment, document, numbers):
    """Findings from settings and numbers as plain data."""
    settings = settings_of(experiment, document)
    kinds = {cell.key: get_type_hints(cell.compute)["return"] for cell in experiment.cells(settings)}
    return experiment.findings(settings, Results({key: from_json(kinds[key], numbers[key], key) for key in kinds}))


def defaults(experiment, scale=None):
    """The settings of a scale, as plain data."""
    return json.loads(json.dumps(to_json(experiment.settings(scale or Scale())), allow_nan=False))
