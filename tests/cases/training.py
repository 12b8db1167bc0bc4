"""Small trainings, and the same training as a loop in plain torch."""

import json
import math
from dataclasses import replace

import torch

from gatentk import data, train
from gatentk.train import EpochRecord, TrainingConfig

N, WIDTH, DEPTH = 40, 16, 2  # with samples of all ten digits


def small(**changes):
    """Forty digits and a tiny network: a few milliseconds an epoch."""
    options = {
        "data": "digits",
        "n": N,
        "width": WIDTH,
        "depth": DEPTH,
        "epochs": 4,
        "batch": 16,
        "rates": (0.05,),
        "dtype": "float64",
        **changes,
    }
    if options.get("optimizer") == "gd":
        options["batch"] = None
    return TrainingConfig(**options)


def of_data(monkeypatch, x, y, **options):
    """A configuration and its samples for given data."""
    dataset = data.Dataset(x=torch.as_tensor(x, dtype=torch.float64), y=y, name="given")
    monkeypatch.setattr(data, "load", lambda *_, **__: dataset)
    config = TrainingConfig(data="given", **{"width": WIDTH, "depth": DEPTH, "dtype": "float64", **options})
    return config, train.prepare_training(config)


def log_lines(folder):
    """The log without its checksums."""
    lines = map(json.loads, (folder / train.LOG).read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "crc"} for line in lines]


def without_times(records):
    return [replace(record, seconds=0.0) for record in records]


def assert_same_state(a, b):
    """Bit for bit, tensors and numbers alike."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same_state(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same_state(x, y)
    else:
        assert a == b


def record_of(seed, epoch):
    return EpochRecord(seed, epoch, "relu", 0.1, 1.0 / (epoch + 1), None, None, None, 0.5)


def drawn(d, width, depth, outputs, seed, model):
    """C, B, W_1 .. W_L and Psi_1 .. Psi_L in the order in which a seed gives them."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows, columns, fan):
        return torch.randn(rows, columns, generator=generator, dtype=torch.float64) * math.sqrt(2 / fan)

    C, B = normal(width, d, d), normal(outputs, width, outputs)
    W = [normal(width, width, width) for _ in range(depth)]
    Psi = [normal(width, width, width) for _ in range(depth)] if model == "grelu" else []
    return C, B, W, Psi


def plain_outputs(x, C, B, W, Psi, model):
    if model == "relu":
        h = x @ C.T
        for weight in W:
            h = torch.relu(h) @ weight.T
        return torch.relu(h) @ B.T
    z = torch.relu(x @ C.T)
    t = (z > 0) * (x @ C.T)
    for weight, psi in zip(W, Psi, strict=True):
        z = torch.relu(z @ psi.T)
        t = (z > 0) * (t @ weight.T)
    return t @ B.T


def plain_loss(outputs, classes, loss):
    if loss == "square":
        return 0.5 * ((outputs - torch.eye(10, dtype=torch.float64)[classes]) ** 2).sum(dim=1).mean()
    return -torch.log_softmax(outputs, dim=1)[torch.arange(len(classes)), classes].mean()


def plain_training(config, seed):
    """Weights and train loss after all epochs, every update written out."""
    dataset = data.load("digits", n=N)
    x, classes = dataset.x / dataset.x.norm(dim=1, keepdim=True), dataset.y
    C, B, W, Psi = drawn(64, WIDTH, DEPTH, 10, seed, config.model)
    order = torch.Generator().manual_seed(2**32 + seed)
    rate = config.rates[0]
    m, v, step = [0.0] * DEPTH, [0.0] * DEPTH, 0
    for _ in range(config.epochs):
        rows_of_epoch = torch.arange(N) if config.optimizer == "gd" else torch.randperm(N, generator=order)
        for rows in rows_of_epoch.split(config.batch or N):
            W = [weight.detach().requires_grad_() for weight in W]
            loss = plain_loss(plain_outputs(x[rows], C, B, W, Psi, config.model), classes[rows], config.loss)
            gradients = torch.autograd.grad(loss, W)
            step += 1
            for k, g in enumerate(gradients):
                if config.optimizer == "adam":
                    m[k], v[k] = 0.9 * m[k] + 0.1 * g, 0.999 * v[k] + 0.001 * g**2
                    g = (m[k] / (1 - 0.9**step)) / (torch.sqrt(v[k] / (1 - 0.999**step)) + 1e-8)
                W[k] = W[k].detach() - rate * g
    outputs = plain_outputs(x, C, B, W, Psi, config.model)
    accuracy = (outputs.argmax(1) == classes).double().mean()
    return W, float(plain_loss(outputs, classes, config.loss)), float(accuracy)
