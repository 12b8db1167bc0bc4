"""An experiment that takes no time and has one of everything."""

import math
import random
import time

from gatentk.papers import plots
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Plot, Table


class Toy(Experiment):
    name = "toy"
    title = "A toy & its <claims>"
    source = "[T, Thm 1]"
    delay = 0.0

    def __init__(self, name="toy", bytes_needed=0, seconds=0.0):
        self.name = name
        self.computed = []
        self.estimate = (bytes_needed, seconds)

    def settings(self, scale):
        return {"cells": 5 if scale.full else 3, "paths": {name: str(path) for name, path in scale.paths.items()}}

    def cells(self, settings):
        return [Cell(f"cell {i}", float(i + 1), {"index": i}) for i in range(settings["cells"])]

    def compute(self, settings, cell):
        time.sleep(self.delay)
        self.computed.append(cell.key)
        index = cell.arguments["index"]
        # A tuple and a key that is no string: what JSON gives back is a list and a string.
        return {"value": random.Random(index).random(), "pair": (index, None), "by": {index: 1.5}}

    def findings(self, settings, results):
        values = [results[cell.key]["value"] for cell in self.cells(settings)]
        assert all(isinstance(results[f"cell {i}"]["by"][str(i)], float) for i in range(settings["cells"]))
        claims = [
            Claim("[T, a]", "Values are below one & positive.", f"largest {max(values):.3f}", max(values) < 1),
            Claim("[T, b]", "Values are above one.", f"largest {max(values):.3f}", max(values) > 1),
            Claim("[T, c]", "Values are random.", "nothing to see", None),
        ]
        figure, (axes,) = plots.panels([("Values", "by cell")], [("Cell", "Value")])
        axes.plot(values)
        rows = [[i, v, v > 0.5, None if i else "text, with comma"] for i, v in enumerate(values)]
        long = [[i, math.sqrt(i)] for i in range(100)]
        tables = [
            Table("toy-values", "Values", ["cell", "value", "large", "note"], rows),
            Table("toy-long", "Long one", ["i", "root"], long),
        ]
        return Findings(claims, [Plot("toy-plot", "Values <by> cell.", figure)], tables, ["One <remark>."])

    def needs(self, settings):
        return self.estimate
