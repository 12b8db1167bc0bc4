"""A finished study, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from gatentk.reporting import figures
from gatentk.reporting.text import csv_text, json_text
from gatentk.runs.results import with_digest
from gatentk.study.config import StudyConfig
from gatentk.study.plots import draw
from gatentk.study.run import FIELDS, StudyRecord
from gatentk.study.samples import StudySamples
from gatentk.study.summary import Series, summarise

SCHEMA = "gatentk/ntk-study/1"


@dataclass(frozen=True, eq=False)
class Study:
    """A finished study with everything its files show.

    Attributes:
        config, samples: what was computed.
        records: of all kernels.
        environment: versions and hardware.
        command: what repeats it.
    """

    config: StudyConfig
    samples: StudySamples
    records: Sequence[StudyRecord]
    environment: Mapping[str, Any]
    command: str

    @cached_property
    def series(self) -> list[Series]:
        """The lines of the plots."""
        return summarise(self.config, self.samples, self.records)

    @cached_property
    def drawn(self) -> figures.Drawn:
        """The plots, and why others could not be drawn."""
        return figures.rendered(lambda: draw(self.config, self.samples, self.series))

    @property
    def plots(self) -> dict[str, bytes]:
        """The plots by file name."""
        return self.drawn.files


def document_text(study: Study) -> str:
    """Everything, machine-readable; `null` where there is no value."""
    samples = study.samples
    document = {
        "schema": SCHEMA,
        "command": study.command,
        "config": asdict(study.config),
        "data": {
            "name": samples.name,
            "samples": len(samples.x),
            "features": samples.x.shape[1],
            "duplicate_rows": samples.duplicates,
            "dropped_zero_rows": samples.dropped_zero_rows,
            "dropped_duplicate_rows": samples.dropped_duplicates,
            "sha256": samples.digest,
        },
        "environment": dict(study.environment),
        "units": {"angle": "degrees", "min_angle": "degrees"},
        "averages": {
            "angle": "arithmetic mean over mini-batches, then over seeds; low and high over seeds",
            "condition": "geometric mean over mini-batches, then over seeds; low and high over seeds; an "
            "unresolved kernel enters with its lower bound, and the mean is then a lower bound",
        },
        "summary": [
            {"kind": s.kind, "activation": s.activation, "rows": s.rows, "label": s.label}
            | {"points": [asdict(point) for point in s.points]}
            for s in study.series
        ],
        "records": [asdict(record) for record in study.records],
    }
    return json_text(with_digest(document))


def table_text(records: Sequence[StudyRecord]) -> str:
    """One row a kernel, columns as the attributes of `StudyRecord`, empty where there is no value."""
    rows = (asdict(record) | {"resolved": str(record.resolved).lower()} for record in records)
    return csv_text(FIELDS, (row.values() for row in rows))
