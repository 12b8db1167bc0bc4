"""RandAugment: every operation against plain array arithmetic, and images that come out of a training's samples."""

import numpy as np
import pytest
import torch
from cases.experiments import defaults, findings_of, plain_numbers, plain_numbers_of

from gatentk import train
from gatentk.papers import augmentation, switch
from gatentk.papers.augmentation import OPERATIONS, change, rand_augment
from gatentk.papers.frame.experiment import Scale

(IDENTITY, SHEAR_X, SHEAR_Y, SHIFT_X, SHIFT_Y, ROTATE, BRIGHTNESS) = range(7)
(COLOR, CONTRAST, SHARPNESS, POSTERIZE, SOLARIZE, AUTOCONTRAST, EQUALIZE) = range(7, 14)


def image(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def apply(operation, level, pixels):
    from PIL.Image import fromarray

    return np.asarray(OPERATIONS[operation](fromarray(pixels), level)).astype(int)


@pytest.mark.parametrize("level", [0.0, 0.3, -1.0])
def test_operations_without_a_level(level):
    assert len(OPERATIONS) == 14
    assert np.array_equal(apply(IDENTITY, level, image()), image())
    low = image() // 4 + 40
    stretched = apply(AUTOCONTRAST, level, low)
    assert stretched.min() == 0
    assert stretched.max(axis=(0, 1)).min() >= 254
    equalized = apply(EQUALIZE, level, low)
    assert equalized.min() <= 4
    assert equalized.max() == 255
    order = low[:, :, 0].ravel().argsort()
    assert (np.diff(equalized[:, :, 0].ravel()[order]) >= 0).all()


def test_level_zero_changes_nothing():
    for operation in range(12):
        assert np.abs(apply(operation, 0.0, image()) - image()).max() <= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_images_move_by_whole_pixels(sign):
    level = sign * 5 / (0.45 * 32)
    for operation, axis in ((SHIFT_X, 1), (SHIFT_Y, 0)):
        moved = apply(operation, level, image())
        expected = np.full((32, 32, 3), 128)
        kept, left = (slice(5, None), slice(None, -5)) if sign > 0 else (slice(None, -5), slice(5, None))
        if axis == 1:
            expected[:, left] = image()[:, kept]
        else:
            expected[left] = image()[kept]
        assert np.array_equal(moved, expected)


def test_rows_shear_and_columns_shear():
    sheared = apply(SHEAR_X, 1.0, image())
    for row in range(32):
        shift = [x for x in range(32) if x + 0.3 * (row + 0.5) + 0.5 < 32]
        source = [int(x + 0.5 + 0.3 * (row + 0.5)) for x in shift]
        assert np.array_equal(sheared[row, shift], image()[row, source])
    assert np.array_equal(apply(SHEAR_Y, 1.0, image().transpose(1, 0, 2)), sheared.transpose(1, 0, 2))


def test_rotation_is_by_thirty_degrees_at_most():
    disc = np.zeros((32, 32, 3), dtype=np.uint8)
    y, x = np.mgrid[:32, :32] - 15.5
    angle = np.degrees(np.arctan2(-y, x))
    disc[(np.hypot(x, y) < 14) & (np.abs(angle) < 5)] = 255
    turned = apply(ROTATE, 1.0, disc)[:, :, 0]
    far = (np.hypot(x, y) > 8) & (np.hypot(x, y) < 14) & (turned == 255)
    assert angle[far].mean() == pytest.approx(30, abs=2)


def test_colours():
    for level in (0.5, -0.5):
        factor = 1 + 0.9 * level
        pixels = image() // 4 + 64  # nothing is clipped
        assert np.abs(apply(BRIGHTNESS, level, image() // 2) - (image() // 2) * factor).max() <= 1
        grey = pixels @ np.array([0.299, 0.587, 0.114])
        expected = grey[:, :, None] + (pixels - grey[:, :, None]) * factor
        assert np.abs(apply(COLOR, level, pixels) - expected).max() <= 2
        expected = grey.mean() + (pixels - grey.mean()) * factor
        assert np.abs(apply(CONTRAST, level, pixels) - expected).max() <= 2
    rough = [np.abs(np.diff(apply(SHARPNESS, level, pixels), axis=0)).sum() for level in (-1, 0, 1)]
    assert rough[0] < rough[1] < rough[2]


def test_bits_and_inversion():
    for sign in (1, -1):
        assert np.array_equal(apply(POSTERIZE, sign * 1.0, image()), image() & 0xF0)
        assert np.array_equal(apply(POSTERIZE, sign * 0.5, image()), image() & 0xFC)
        assert np.array_equal(apply(SOLARIZE, sign * 1.0, image()), 255 - image().astype(int))
        half = np.where(image() < 128, image(), 255 - image().astype(int))
        assert np.array_equal(apply(SOLARIZE, sign * 0.5, image()), half)


def test_every_operation_is_drawn_in_both_directions(monkeypatch):
    seen = []

    def recorded(index):
        def operation(picture, level):
            seen.append((index, level))
            return picture

        return operation

    monkeypatch.setattr(augmentation, "OPERATIONS", tuple(map(recorded, range(14))))
    generator = np.random.default_rng(0)
    for _ in range(200):
        change(image(), 2, 9, generator)
    assert len(seen) == 400
    assert {index for index, _ in seen} == set(range(14))
    assert {level for _, level in seen} == {0.3, -0.3}


@pytest.fixture
def cifar10(tmp_path):
    for batch in range(1, 6):
        records = np.random.default_rng(batch).integers(0, 256, (12, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(records.tobytes())
    return tmp_path


def config(folder, **changes):
    fields = {"data": "cifar10", "path": str(folder), "test_fraction": 0.2, "n": 50, "width": 32, "depth": 2}
    return train.Config(**{**fields, "rates": (1e-3,), "batch": 16, **changes})


def test_samples_of_an_epoch(cifar10):
    samples = train.prepare(config(cifar10))
    draw = rand_augment(config(cifar10), 2, 9, 0)
    first, second = draw(), draw()
    assert first.shape == samples.train.x.shape
    assert first.dtype == samples.train.x.dtype
    assert torch.allclose(first.norm(dim=1), torch.ones(len(first)))
    assert not torch.equal(first, second)
    assert torch.equal(rand_augment(config(cifar10), 2, 9, 0)(), first)
    assert not torch.equal(rand_augment(config(cifar10), 2, 9, 1)(), first)
    # In the order of the samples: changed images are closest to where they come from, most of the time.
    closest = (first @ samples.train.x.T - 0.7).argmax(dim=1)
    assert (closest == torch.arange(len(first))).float().mean() > 0.5


def test_no_operation_is_the_sample_itself(cifar10, monkeypatch):
    monkeypatch.setattr(augmentation, "OPERATIONS", (OPERATIONS[IDENTITY],))
    samples = train.prepare(config(cifar10))
    assert torch.allclose(rand_augment(config(cifar10), 1, 9, 0)(), samples.train.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("model", ["grelu", "relu"])
def test_an_epoch_learns_from_the_changed_samples_and_their_gates(cifar10, model):
    chosen = config(cifar10, model=model)
    samples = train.prepare(chosen)
    other = samples.train.x.flip(1)
    start = train.begin(chosen, samples, 0, train.build(chosen, samples, 0))
    augmented = train.Run(chosen, start, 1e-3, augment=lambda: other)
    before = augmented.evaluate(start.train)[0]
    assert next(augmented.epochs(2)).train_loss == before  # of the samples as they are
    list(augmented.epochs(2))

    flipped = train.Samples(
        **{**vars(samples), "train": train.Split(other, samples.train.targets, samples.train.classes)}
    )
    plain = train.Run(chosen, train.begin(chosen, flipped, 0, train.build(chosen, flipped, 0)), 1e-3)
    list(plain.epochs(2))
    for a, b in zip(augmented.network.weights, plain.network.weights, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("changes", "operations", "magnitude", "message"),
    [
        ({"normalize": "standard"}, 2, 9, "normalize: expected unit"),
        ({"data": "digits", "path": None}, 2, 9, "data: expected images"),
        ({}, 0, 9, "operations"),
        ({}, 2, 31, "0 to 30"),
    ],
)
def test_wrong_arguments(cifar10, changes, operations, magnitude, message):
    with pytest.raises(ValueError, match=message):
        rand_augment(config(cifar10, **changes), operations, magnitude, 0)


def test_the_switch_at_the_published_size_trains_on_changed_images(cifar10, monkeypatch):
    """Its settings with fewer samples, through all cells."""
    experiment = switch.EXPERIMENT
    prepared = switch.trainings.samples

    def small(config, spread=None):
        from dataclasses import replace

        return prepared(replace(config, n=50), spread)

    monkeypatch.setattr(switch.trainings, "samples", small)
    settings = defaults(experiment, Scale(full=True, paths={"cifar10": cifar10}))
    assert settings["augment"] == {"operations": 2, "magnitude": 9}
    settings["config"] |= {"n": 50, "width": 128, "epochs": 4, "switch": 2}
    settings["narrow"] = [32]
    results = plain_numbers(experiment, settings)
    findings = findings_of(experiment, settings, results)
    assert findings.claims[0].agrees is True
    assert any("RandAugment" in remark and "magnitude 9" in remark for remark in findings.remarks)
    plain = plain_numbers_of(experiment, settings | {"augment": None}, "switched width 128")
    assert plain["train"][0] == results["switched width 128"]["train"][0]
    assert plain["train"][1] != results["switched width 128"]["train"][1]
