"""The experiment `bounds` on tiny instances: its settings, claims that follow its numbers, numbers that are altered."""

from dataclasses import replace

from gatentk.papers.bounds import settings
from gatentk.papers.bounds.experiment import CLAIMS
from gatentk.papers.frame.experiment import Results

SMALL = replace(
    settings.at_scale(full=False),
    table=settings.Table1Settings(samples=[10, 50], depth=4, eps=1e-6, failure=0.1),
    training=settings.TrainingSettings(
        samples=6,
        depths=[2, 3],
        widths=[32, 64, 128],
        iteration_samples=[4, 6],
        seeds=2,
        targets=[1e-2, 1e-4, 1e-6],
        steps=500,
    ),
    step=settings.OneStepSettings(samples=5, width=40, depth=2, factors=[0.25, 0.125, 0.0625], seeds=1),
    literal=settings.LiteralStepSettings(samples=[4, 6], depth=2, steps=60, seeds=1, factors=[1, 8]),
    spectra=settings.EigenvalueSettings(samples=4, outputs=3, measured=2, depth=2, widths=[16, 512], seeds=1),
    gates=settings.GateSettings(samples=6, width=1024, depth=20, seeds=2),
    decay=settings.DecaySettings(depth=60),
    kernels=settings.KernelSettings(
        data=[("gaussian", 20, 400), ("gaussian", 20, 40), ("digits", 40, None)], depths=[1, 2, 5, 10]
    ),
    norms=settings.NormSettings(inputs=10, width=64, depths=[1, 2], norm=2.0, seeds=30),
)


def altered(numbers, start, **values):
    """Numbers by key, with other values in those whose key starts so."""
    return {key: replace(found, **values) if key.startswith(start) else found for key, found in numbers.items()}


def altered_kernels(numbers, start, name, **values):
    """The same for one kernel of several samples."""
    return {
        key: found | {name: replace(found[name], **values)} if key.startswith(f"kernels {start}") else found
        for key, found in numbers.items()
    }


def verdicts(numbers):
    """By the source and the statement of each claim."""
    claims = [claim for theorem in CLAIMS for claim in theorem(SMALL, Results(numbers))]
    return {f"{claim.source} {claim.statement}": claim.agrees for claim in claims}


def verdict(numbers, start):
    """That of the one claim that starts so."""
    (agrees,) = [agrees for text, agrees in verdicts(numbers).items() if text.startswith(start)]
    return agrees
