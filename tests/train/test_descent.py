import pytest
import torch
from cases.training import DEPTH, WIDTH, plain_loss, small

from gatentk import train
from gatentk.nn import MLP


@pytest.mark.parametrize("optimizer", ["gd", "sgd"])
def test_large_steps_are_added_up_block_by_block(monkeypatch, optimizer):
    config = small(optimizer=optimizer, batch=None if optimizer == "gd" else 20)
    whole = train.fit(config)
    monkeypatch.setattr("gatentk.train.samples.BLOCK_ROWS", 7)
    parts = train.fit(config)
    assert parts.records[-1].train_loss == pytest.approx(whole.records[-1].train_loss, rel=1e-10)
    torch.testing.assert_close(parts.network.weights[0], whole.network.weights[0], rtol=1e-9, atol=1e-12)


def test_any_network_with_trained_weights_descends(generator):
    config = small(optimizer="gd", loss="cross-entropy")
    samples = train.prepare_training(config).train
    networks = [MLP(64, WIDTH, DEPTH, 10, generator=generator, dtype=torch.float64) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    expected = []
    for _ in range(4):
        outputs = networks[1](samples.x)
        loss = plain_loss(outputs, samples.classes, "cross-entropy")
        expected.append((loss.item(), float((outputs.argmax(1) == samples.classes).double().mean())))
        for weight, gradient in zip(
            networks[1].weights, torch.autograd.grad(loss, list(networks[1].weights)), strict=True
        ):
            weight.data -= 0.1 * gradient
    descent = train.Descent(config, networks[0], samples, 0.1)
    found = list(descent.losses(3))
    assert [progress.epoch for progress in found] == [0, 1, 2, 3]
    assert [progress.loss for progress in found] == pytest.approx([loss for loss, _ in expected], rel=1e-10)
    assert [progress.accuracy for progress in found] == pytest.approx([accuracy for _, accuracy in expected])
    assert expected[3][0] < expected[0][0]


def test_a_descent_ends_where_the_loss_is_not_finite(generator):
    network = MLP(64, WIDTH, DEPTH, 10, activation="linear", generator=generator, dtype=torch.float64)
    config = small()
    *others, last = train.Descent(config, network, train.prepare_training(config).train, 1e30).losses(50)
    assert not any(progress.diverged for progress in others)
    assert (last.diverged, last.loss, last.accuracy) == (True, None, None)
    assert last.epoch == len(others) < 50
