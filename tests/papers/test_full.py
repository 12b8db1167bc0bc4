"""--full on small files in the published formats: its settings, made small, through all cells."""

from dataclasses import replace

import numpy as np
import pytest
from cases.experiments import defaults, findings_of, plain_numbers

from gatentk import papers
from gatentk.papers.frame import trainings
from gatentk.papers.frame.experiment import Scale

SGEMM_HEADER = "MWG,NWG,KWG,MDIMC,NDIMC,MDIMA,NDIMB,KWI,VWM,VWN,STRM,STRN,SA,SB,Run1 (ms),Run2 (ms),Run3 (ms),Run4 (ms)"


@pytest.fixture
def paths(tmp_path):
    """A folder of CIFAR-10 and one of SGEMM, 60 samples each."""
    cifar10, sgemm = tmp_path / "cifar10", tmp_path / "sgemm"
    cifar10.mkdir()
    sgemm.mkdir()
    for batch in range(1, 6):
        records = np.random.default_rng(batch).integers(0, 256, (12, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (cifar10 / f"data_batch_{batch}.bin").write_bytes(records.tobytes())
    draw = np.random.default_rng(0)
    lines = [",".join(map(str, [*draw.integers(1, 9, 14), *draw.uniform(10, 99, 4).round(2)])) for _ in range(60)]
    (sgemm / "sgemm_product.csv").write_text("\n".join([SGEMM_HEADER, *lines]))
    return {"cifar10": cifar10, "sgemm": sgemm}


SMALLER = {
    "dynamics": ("sgemm", {"config": {"width": 32, "depth": 2, "epochs": 3}, "seeds": 1}),
    "rates": (
        "sgemm",
        {"config": {"width": 32, "depth": 2, "epochs": 2}, "widths": [16, 32], "depths": [1, 2], "seeds": 1},
    ),
    "image-regression": ("cifar10", {"config": {"epochs": 2}, "shapes": [[2, 32], [3, 32]]}),
}


@pytest.mark.parametrize("name", SMALLER)
def test_full_size_on_small_files(name, paths):
    experiment = papers.experiment(name)
    data, changes = SMALLER[name]
    settings = defaults(experiment, Scale(full=True, paths=paths))
    assert settings["config"]["data"] == data
    assert settings["config"]["path"] == str(paths[data])
    settings |= changes | {"config": settings["config"] | changes["config"]}
    findings = findings_of(experiment, settings, plain_numbers(experiment, settings))
    assert findings.claims
    assert all(len(row) == len(table.columns) for table in findings.tables for row in table.rows)


@pytest.mark.parametrize("name", ["dynamics", "rates"])
def test_memory_counts_the_gate_tables(name, paths, monkeypatch):
    """Of as many samples as the published data have."""
    experiment = papers.experiment(name)
    settings = experiment.settings(Scale(full=True, paths=paths))
    small = experiment.needs(settings)[0]
    samples = trainings.samples(trainings.config(settings.config))
    x = samples.train.x[:1].expand(241_600, -1)
    many = replace(samples, train=replace(samples.train, x=x))
    monkeypatch.setattr(trainings, "samples", lambda *_: many)
    tables = 11 * 241_600 * 4096 // 8
    assert experiment.needs(settings)[0] > small + tables
