"""The best epoch, cuts of the rate and the end, against what the records say."""

import json
from dataclasses import replace

import pytest
import torch
from cases.training import record_of, small

from gatentk import nn, train
from gatentk.train import best_epoch


def of_losses(losses, **changes):
    return [replace(record_of(0, epoch), train_loss=loss, **changes) for epoch, loss in enumerate(losses)]


def test_the_best_epoch_is_the_first_with_the_smallest_finite_loss():
    assert best_epoch(of_losses([3.0, 1.0, 2.0, 1.0])).epoch == 1
    assert best_epoch(of_losses([None, None])) is None
    records = [replace(r, test_loss=t) for r, t in zip(of_losses([3.0, 1.0, 0.5]), [2.0, 1.0, None], strict=True)]
    assert best_epoch(records) == train.BestEpoch(1, "test_loss", 1.0)


def test_after_a_switch_only_the_network_from_there_counts():
    records = of_losses([3.0, 0.1, 0.2, 0.7])
    records[2] = replace(records[2], switch={"train_loss_after": 0.8, "test_loss_after": None})
    assert best_epoch(records) == train.BestEpoch(3, "train_loss", 0.7)
    assert best_epoch(records[:3]) == train.BestEpoch(2, "train_loss", 0.8)


class Drifting(train.Run):
    """Weights that are the number of the step times the rate, and losses that are given."""

    given: tuple[float, ...] = ()

    def train_epoch(self):
        with torch.no_grad():
            for weight in self.network.weights:
                weight += self.rate
        return True

    def evaluate(self, split):
        return self.given[min(self.epoch, len(self.given) - 1)], None


def drifting(losses, **options):
    config = small(epochs=60, rates=(1.0,), patience=2, **options)
    samples = train.prepare_training(config)
    run = Drifting(config, train.begin(config, samples, 0, train.build(config, samples, 0)), 1.0, keep_best=True)
    run.given = losses
    start = run.network.weights[0].detach().clone()
    records = list(run.epochs(60))
    return run, records, start


def test_the_rate_is_cut_from_the_best_epoch_on_until_that_no_longer_helps():
    run, records, start = drifting((5.0, 4.0, 3.0, 3.5, 3.0))
    assert [record.returned_to for record in records] == [None] * 4 + [2, None, 2, None, None]
    assert [record.rate for record in records] == [1.0] * 5 + [0.2] * 2 + [0.04] * 2
    assert [record.settled for record in records] == [False] * 8 + [True]
    assert run.schedule.best == train.BestEpoch(2, "train_loss", 3.0)
    torch.testing.assert_close(run.schedule.weights[0], start + 2)
    torch.testing.assert_close(run.network.weights[0].detach(), start + 2 + 2 * 0.04)


def test_a_smaller_loss_starts_the_waiting_anew():
    _, records, _ = drifting((5.0, 6.0, 4.0, 6.0, 3.0, 6.0, 6.0, 2.0, 6.0))
    assert [record.epoch for record in records if record.returned_to is not None] == [6, 9]
    assert (records[9].returned_to, records[-1].epoch) == (7, 11)


def test_a_constant_schedule_keeps_rate_and_weights_and_knows_the_best_epoch():
    run, records, start = drifting((5.0, 4.0, 3.0, 3.5, 4.0), schedule="constant")
    assert {(record.rate, record.returned_to, record.settled) for record in records} == {(1.0, None, False)}
    assert run.schedule.best.epoch == 2
    torch.testing.assert_close(run.network.weights[0].detach(), start + 60)


def test_a_run_that_is_to_switch_does_not_settle_before():
    config = small(width=100, switch=20, epochs=22, patience=1, rates=(1e-30,))
    records = train.fit(config).records
    assert [record.epoch for record in records if record.switch is not None] == [20]
    assert records[19].model == "grelu"
    assert records[-1].model == "relu"


def test_the_file_of_the_best_epoch_gives_its_loss(tmp_path):
    config = small(test_fraction=0.25, epochs=8, rates=(0.05,), patience=2)
    samples = train.prepare_training(config)
    result = train.run_training(config, tmp_path, samples)
    best = best_epoch(result.records)
    state = torch.load(tmp_path / "best-0.pt", weights_only=True)
    assert (state["epoch"], state["loss"], state["measure"]) == (best.epoch, best.loss, best.measure)
    network = nn.GReLUNetwork(64, config.width, config.depth, 10, dtype=torch.float64)
    network.load_state_dict(state["network"])
    error = network(samples.test.x).detach() - samples.test.targets
    assert float(error.square().sum() / 2 / len(error)) == pytest.approx(best.loss, rel=1e-12)
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert run["best"] == {"epoch": best.epoch, "measure": "test_loss", "loss": best.loss}


@pytest.mark.parametrize(
    ("options", "best_share"),
    [
        ({"data": "digits", "n": 600, "loss": "cross-entropy", "optimizer": "adam"}, 1.0),
        ({"data": "diabetes"}, 0.35),
        ({"data": "friedman", "n": 500}, 0.35),
    ],
)
def test_default_trainings_end_close_to_their_best_epoch(options, best_share):
    config = train.TrainingConfig(**{"width": 128, "depth": 2, "test_fraction": 0.2, **options})
    samples = train.prepare_training(config)
    records = train.fit(config, samples).records
    best = best_epoch(records)
    assert records[-1].test_loss <= 1.1 * best.loss
    if samples.train.scale is not None:  # what the mean of the targets leaves
        spread = samples.train.scale.spread.item()
        assert best.loss < best_share * spread**2
    else:
        assert records[-1].test_accuracy > 0.9
