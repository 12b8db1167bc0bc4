"""RandAugment: random changes of images by Pillow's operations (Cubuk et al., arXiv 1909.13719)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatentk import data, train
from gatentk.extras import imports
from gatentk.train import Config

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 32  # of CIFAR-10 and SVHN, three channels
LEVELS = 30  # magnitudes are 0 to 30
_GREY = (128, 128, 128)  # where a moved image leaves nothing


def rand_augment(config: Config, operations: int, magnitude: int, seed: int) -> Callable[[], Tensor]:
    """Features of the train samples of `train.prepare(config)`, with other random changes at every call.

    Args:
        config: of a data set of colour images of 32 x 32 pixels whose rows are scaled to norm 1.
        operations, magnitude: how many changes are made to an image, and how strong they are, 0 to 30.
        seed: of the changes.

    Raises:
        ValueError: other samples, another normalisation or a wrong number.
    """
    if config.normalize not in ("auto", "unit"):  # images have classes
        raise ValueError(f"normalize: expected unit, got {config.normalize!r}")
    if operations < 1 or not 0 <= magnitude <= LEVELS:
        raise ValueError(
            f"operations, magnitude: expected at least 1 and 0 to {LEVELS}, got {operations} and {magnitude}"
        )
    dataset = data.load(config.data, n=config.n, seed=config.data_seed, path=config.path)
    if dataset.x.shape[1] != 3 * SIDE**2:
        raise ValueError(f"data: expected images of 3 x {SIDE} x {SIDE} values, got {config.data}")
    rows, _ = train.split_rows(config, len(dataset.x), dataset.name)
    images = np.rint(dataset.x[rows].numpy() * 255).astype(np.uint8).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    generator = np.random.default_rng((seed, 5))

    def draw() -> Tensor:
        changed = np.stack([change(image, operations, magnitude, generator) for image in images])
        features = torch.from_numpy(changed.transpose(0, 3, 1, 2).reshape(len(changed), -1) / 255)
        return train.normalised(features, "unit", torch.arange(len(features))).to(train.DTYPES[config.dtype])

    return draw


def change(
    image: NDArray[np.uint8], operations: int, magnitude: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """One image (row, column, channel) after that many operations, drawn with replacement from `OPERATIONS`."""
    with imports("cli", "augmentation"):
        from PIL.Image import fromarray
    picture = fromarray(image)
    for index in generator.integers(len(OPERATIONS), size=operations):
        sign = 1 if generator.random() < 0.5 else -1
        picture = OPERATIONS[index](picture, sign * magnitude / LEVELS)
    return np.asarray(picture, dtype=np.uint8)


def _affine(image: Image, *matrix: float) -> Image:
    """The pixel at (x, y) is that of the image at (a x + b y + c, d x + e y + f)."""
    from PIL.Image import Transform

    return image.transform(image.size, Transform.AFFINE, matrix, fillcolor=_GREY)


def _rotate(image: Image, level: float) -> Image:
    return image.rotate(30 * level, fillcolor=_GREY)


def _enhance(name: str) -> Callable[[Image, float], Image]:
    def enhance(image: Image, level: float) -> Image:
        from PIL import ImageEnhance

        enhancer: ImageEnhance._Enhance = getattr(ImageEnhance, name)(image)
        return enhancer.enhance(1 + 0.9 * level)

    return enhance


def _posterize(image: Image, level: float) -> Image:
    from PIL import ImageOps

    return ImageOps.posterize(image, 8 - round(4 * abs(level)))


def _solarize(image: Image, level: float) -> Image:
    from PIL import ImageOps

    return ImageOps.solarize(image, round(256 * (1 - abs(level))))


def _autocontrast(image: Image, level: float) -> Image:
    from PIL import ImageOps

    return ImageOps.autocontrast(image)


def _equalize(image: Image, level: float) -> Image:
    from PIL import ImageOps

    return ImageOps.equalize(image)


# Each takes an image and a level from -1 to 1. At level 1: shear by 0.3, shift by 0.45 of the side, rotation by 30
# degrees, colours and contrasts between 0.1 and 1.9 times theirs, 4 bits a channel, all pixels inverted.
OPERATIONS: tuple[Callable[[Image, float], Image], ...] = (
    lambda image, level: image,
    lambda image, level: _affine(image, 1, 0.3 * level, 0, 0, 1, 0),
    lambda image, level: _affine(image, 1, 0, 0, 0.3 * level, 1, 0),
    lambda image, level: _affine(image, 1, 0, 0.45 * level * image.width, 0, 1, 0),
    lambda image, level: _affine(image, 1, 0, 0, 0, 1, 0.45 * level * image.height),
    _rotate,
    _enhance("Brightness"),
    _enhance("Color"),
    _enhance("Contrast"),
    _enhance("Sharpness"),
    _posterize,
    _solarize,
    _autocontrast,
    _equalize,
)
