"""A finished experiment, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from gatentk.papers.frame.experiment import Experiment, Results
from gatentk.papers.frame.findings import Findings, Plot
from gatentk.reporting.figures import Drawn, rendered
from gatentk.reporting.text import json_text
from gatentk.runs.plain import to_json
from gatentk.runs.results import with_digest

SCHEMA = "gatentk/paper/1"


@dataclass(frozen=True, eq=False)
class Result:
    """A finished experiment with everything its files show.

    Attributes:
        experiment, settings: what was computed.
        numbers, seconds: of all cells, by key.
        environment: versions and hardware.
        command: what repeats it.
    """

    experiment: Experiment[Any]
    settings: Any
    numbers: Mapping[str, Any]
    seconds: Mapping[str, float]
    environment: Mapping[str, Any]
    command: str

    @cached_property
    def findings(self) -> Findings:
        """Claims, plots and tables."""
        return self.experiment.findings(self.settings, Results(self.numbers))

    @cached_property
    def drawn(self) -> Drawn:
        """The files of the plots, and why others could not be drawn."""
        return rendered(lambda: {plot.name: plot.figure for plot in self._plots})

    @cached_property
    def _plots(self) -> Sequence[Plot]:
        return self.findings.draw()

    @property
    def plots(self) -> Sequence[Plot]:
        """Those that could be drawn."""
        files = self.drawn.files
        return [plot for plot in self._plots if f"{plot.name}.svg" in files] if files else []


def document_text(result: Result) -> str:
    """Every number with the settings, versions and machine that it came from."""
    document = {
        "schema": SCHEMA,
        "name": result.experiment.name,
        "title": result.experiment.title,
        "source": result.experiment.source,
        "command": result.command,
        "settings": to_json(result.settings),
        "environment": dict(result.environment),
        "claims": [asdict(claim) for claim in result.findings.claims],
        "seconds": dict(result.seconds),
        "numbers": to_json(result.numbers),
    }
    return json_text(with_digest(document))
