import numpy as np
import pytest
import torch
from cases.training import of_data

from gatentk import train
from gatentk.errors import DataError
from gatentk.train import TrainingConfig, TrainingError


def test_every_sample_gets_norm_one_and_zero_rows_stay(monkeypatch):
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 2
    x[4] = 0
    _, samples = of_data(monkeypatch, x, y)
    norms = samples.train.x.norm(dim=1)
    assert norms.tolist() == pytest.approx([1, 1, 1, 1, 0, 1])
    assert samples.zero_rows == 1


def test_standardised_features_have_mean_0_and_variance_1_on_the_train_samples(monkeypatch):
    x = 3 + 2 * torch.randn(40, 4, dtype=torch.float64)
    x[:, 2] = 7
    _, samples = of_data(monkeypatch, x, torch.arange(40) % 2, normalize="standard", test_fraction=0.25)
    means, variances = samples.train.x.mean(0), samples.train.x.var(0, correction=0)
    torch.testing.assert_close(means, torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(variances, torch.tensor([1.0, 1, 0, 1], dtype=torch.float64))
    assert not torch.allclose(samples.test.x.mean(0), torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("normalize", ["unit", "standard"])
@pytest.mark.parametrize("power", [-1060, -560, 512, 1015])
def test_the_size_of_the_numbers_does_not_matter(monkeypatch, normalize, power):
    x, y = torch.randint(-9, 10, (20, 3)).double(), torch.arange(20) % 2
    _, expected = of_data(monkeypatch, x, y, normalize=normalize)
    _, scaled = of_data(monkeypatch, torch.from_numpy(np.ldexp(x.numpy(), power)), y, normalize=normalize)
    assert torch.equal(scaled.train.x, expected.train.x)


@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
def test_classes_become_outputs_in_ascending_order(monkeypatch, loss):
    x, y = torch.randn(5, 3), torch.tensor([9, -2, 4, 9, 4])
    _, samples = of_data(monkeypatch, x, y, loss=loss, normalize="none")
    assert (samples.classes, samples.outputs) == ((-2, 4, 9), 3)
    assert samples.train.classes.tolist() == [2, 0, 1, 2, 1]
    expected = [2, 0, 1, 2, 1] if loss == "cross-entropy" else np.eye(3)[[2, 0, 1, 2, 1]].tolist()
    assert samples.train.targets.tolist() == expected
    torch.testing.assert_close(samples.train.x, x.double())


def test_real_targets_are_one_output(monkeypatch):
    config, samples = of_data(monkeypatch, torch.randn(5, 3), torch.randn(5, dtype=torch.float64), epochs=1)
    assert (samples.classes, samples.outputs, samples.train.targets.shape) == (None, 1, (5, 1))
    record = train.fit(config, samples, rate=1e-5).records[-1]
    assert record.train_accuracy is None
    assert record.train_loss > 0


def test_the_split_uses_every_sample_once(monkeypatch):
    x, y = torch.arange(1, 21.0).view(20, 1), torch.arange(20) % 2
    options = {"test_fraction": 0.3, "normalize": "none"}
    _, first = of_data(monkeypatch, x, y, **options)
    both = torch.cat([first.train.x, first.test.x]).flatten()
    assert (len(first.train), len(first.test)) == (14, 6)
    assert sorted(both.tolist()) == x.flatten().tolist()
    assert first.test.classes.tolist() == [(int(v) - 1) % 2 for v in first.test.x]
    _, again = of_data(monkeypatch, x, y, **options)
    _, other = of_data(monkeypatch, x, y, data_seed=1, **options)
    assert torch.equal(first.test.x, again.test.x)
    assert not torch.equal(first.test.x, other.test.x)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (None, {}, "given has no labels to learn.*label, class, target or y, or one that label= names"),
        (torch.zeros(5, dtype=torch.int64), {}, "at least two classes, all labels are 0"),
        (torch.rand(5), {"loss": "cross-entropy"}, "real targets, and cross-entropy needs classes"),
        (torch.arange(5), {"test_fraction": 0.05}, "test_fraction=0.05: given has 5 samples, 0 would be tests"),
        (torch.arange(5), {"test_fraction": 0.99}, "5 would be tests"),
    ],
)
def test_data_without_anything_to_learn_is_refused(monkeypatch, y, options, message):
    with pytest.raises(TrainingError, match=message):
        of_data(monkeypatch, torch.randn(5, 3), y, **options)


def test_numbers_that_are_no_classes_are_recognised(monkeypatch):
    monkeypatch.setattr("gatentk.train.samples.CLASS_LIMIT", 4)
    with pytest.raises(TrainingError, match="5 different labels; name the column target"):
        of_data(monkeypatch, torch.randn(5, 3), torch.arange(5))


def test_errors_of_the_data_come_through():
    with pytest.raises(DataError, match="no/such"):
        train.prepare_training(TrainingConfig(data="csv:/no/such/file.csv"))
