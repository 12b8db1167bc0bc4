"""The work of a fit: leave-one-out a depth after another, then the best fit and its predictions."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from torch import Tensor

from gatentk.errors import FitError
from gatentk.fit.config import FitConfig
from gatentk.fit.record import DepthRecord, Outcome, chosen_pair
from gatentk.fit.samples import FitSamples
from gatentk.kernel_machines import NTKClassifierCV, NTKRegressorCV
from gatentk.kernel_machines.estimators import coded
from gatentk.kernel_machines.networks import WideNetwork
from gatentk.kernel_machines.selection import accuracy_of, search_memory
from gatentk.kernel_machines.trials import Columns, determination, tried


def network(config: FitConfig) -> WideNetwork:
    """All but the depth; samples are scaled before."""
    return WideNetwork(config.kernel, config.activation, config.w_std, config.b_std, config.slope, normalize=False)


def check_network(config: FitConfig, samples: FitSamples) -> None:
    """Refuse what no network has, before anything is written.

    Raises:
        TypeError, ValueError: as `gatentk.ntk.infinite`, with `depths` for its `depth`.
    """
    try:
        network(config).sweep(samples.x[:1], None, config.depths[:1])
    except ValueError as error:
        text = str(error)
        raise ValueError(f"depths:{text.removeprefix('depth:')}" if text.startswith("depth:") else text) from error


def columns_of(samples: FitSamples) -> Tensor:
    """Targets (n, outputs) as they are fitted."""
    if samples.classes is None:
        return samples.y.unsqueeze(1)
    return coded(samples.y.numpy(), len(samples.classes))


def fit_memory(config: FitConfig, samples: FitSamples) -> int:
    """Peak bytes of a fit, one depth at a time."""
    n, d = samples.x.shape
    outputs = 1 if samples.classes is None or len(samples.classes) == 2 else len(samples.classes)
    tests = samples.tests
    return search_memory(n, outputs, len(config.ridges)) + 8 * (2 * (n + tests) * d + tests * outputs)


def costs(config: FitConfig, samples: FitSamples) -> dict[str, float]:
    """Expected work of all parts, in multiples of one multiply-add."""
    n, d = samples.x.shape
    solving = 8 / 3 * n**3 + 4.0 * len(config.ridges) * n * n
    parts = {f"depth {depth}": solving + 40.0 * n * n for depth in config.depths}
    return {**parts, "best fit": 1.5 * solving + float(n) * samples.tests * (d + 100)}


def try_depths(config: FitConfig, samples: FitSamples, done: Collection[int]) -> Iterator[DepthRecord]:
    """Leave-one-out of the depths that are not done, all ridges of a depth at once."""
    columns = Columns(columns_of(samples), with_intercept=True)
    score = determination if samples.classes is None else accuracy_of(samples.y.numpy())
    depths = [depth for depth in config.depths if depth not in done]
    if depths:
        for trial, _ in tried(network(config), samples.x, columns, depths, config.ridges, score):
            yield DepthRecord.of(trial)


def best_fit(config: FitConfig, samples: FitSamples, records: list[DepthRecord]) -> Outcome:
    """Fit the best pair to all train samples, and predict.

    Raises:
        FitError: the kernel is below its noise floor at all depths with all ridges.
    """
    pair = chosen_pair(records)
    if pair is None:
        raise FitError(
            f"ridges: the kernel has eigenvalues below its noise floor n * eps * lambda_max at all depths and ridges, "
            f"of which the largest is {config.ridges[0]:.3g}; give larger ones"
        )
    depth, ridge = records[pair[0]].depth, config.ridges[pair[1]]
    kind = NTKRegressorCV if samples.classes is None else NTKClassifierCV
    machine = kind(depths=[depth], ridges=[ridge], **vars(network(config))).fit(samples.x.numpy(), samples.y.numpy())
    outputs, deviations = _predicted(machine, samples)
    found = machine.spectrum_
    return Outcome(
        depth=depth,
        ridge=ridge,
        added_ridge=machine.added_ridge_,
        lmin=float(found.lmin),
        lmax=float(found.lmax),
        floor=float(found.floor),
        resolved=bool(found.resolved),
        condition=float(found.condition) if found.resolved else None,
        intercept=tuple(machine.intercept_.tolist()),
        left_out=tuple(machine.loo_predictions_.tolist()),
        outputs=tuple(map(tuple, outputs.tolist())),
        deviations=tuple(deviations.tolist()),
    )


def _predicted(machine: NTKRegressorCV | NTKClassifierCV, samples: FitSamples) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (m, outputs) for the test samples, and their deviations (m,) if they are numbers to predict."""
    if samples.test_x is None:
        return np.zeros((0, 1)), np.zeros(0)
    x = samples.test_x.numpy()
    if isinstance(machine, NTKClassifierCV):
        return machine.decision_function(x).reshape(len(x), -1), np.zeros(0)
    outputs, deviations = machine.predict(x, return_std=True)
    return outputs[:, None], deviations
