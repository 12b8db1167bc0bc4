"""Studies that take a fraction of a second."""

import torch

from gatentk import data
from gatentk.study.config import StudyConfig
from gatentk.study.result import Study
from gatentk.study.run import FIELDS, StudyRecord, run_tasks
from gatentk.study.samples import prepare_study

ENVIRONMENT = {"gatentk": "0", "threads": 1}


def small(**changes):
    """A study of 20 digits that takes a fraction of a second."""
    options = {"data": "digits", "n": 20, "depths": (0, 2), "width": 16, "seeds": 2, **changes}
    return StudyConfig(**options)


def all_records(config):
    """Those of a study without a folder."""
    return [record for _, records in run_tasks(config, prepare_study(config)) for record in records]


def from_rows(monkeypatch, rows, **options):
    """Prepare a study of given rows."""
    dataset = data.Dataset(x=torch.as_tensor(rows, dtype=torch.float64), y=None, name="rows")
    monkeypatch.setattr(data, "load", lambda *_, **__: dataset)
    config = StudyConfig(data="rows", **{"width": None, "depths": (0, 1), **options})
    return config, prepare_study(config)


def finished(**options):
    """A finished study of digits that takes a fraction of a second."""
    options = {"data": "digits", "n": 24, "depths": (0, 1, 3), "width": 16, "seeds": 2, **options}
    config = StudyConfig(**options)
    samples = prepare_study(config)
    records = [record for _, records in run_tasks(config, samples) for record in records]
    return Study(config, samples, records, ENVIRONMENT, "gatentk ntk --data digits --out DIR")


def record(**changes):
    """What is known of a kernel, as a test wants it."""
    values = dict.fromkeys(FIELDS)
    values |= {"kind": "finite", "activation": "relu", "depth": 1, "rows": "all", "samples": 9, "seed": 0}
    values |= {"min_angle": 10.0, "lmin": 1.0, "lmax": 100.0, "floor": 1e-12, "resolved": True}
    values |= {"condition": 100.0, "condition_bound": 100.0}
    return StudyRecord(**(values | changes))
