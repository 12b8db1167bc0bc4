"""Networks that write while they compute, and networks whose outputs are no function of one sample."""

import torch
from cases.kernels import D_IN
from torch import nn


class FromForward(nn.Module):
    """A linear layer behind some function of the module and its input."""

    def __init__(self, forward, d_out=2, **buffers):
        super().__init__()
        self.layer = nn.Linear(D_IN, d_out)
        self._forward = forward
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)

    def forward(self, x):
        return self._forward(self, x)


def writes_to_input(self, x):
    x -= 0.5
    x *= 2
    return self.layer(x)


def writes_by_index(self, x):
    x[:, 0] = x[:, 1]
    return self.layer(x).tanh()


def writes_to_a_view(self, x):
    x.t()[1:3].mul_(-3)
    return self.layer(x)


def writes_by_out(self, x):
    with torch.no_grad():
        torch.mul(x, 3, out=x)
    return self.layer(x)


INPUT_WRITERS = {
    "operators": lambda: FromForward(writes_to_input),
    "an index": lambda: FromForward(writes_by_index),
    "a view": lambda: FromForward(writes_to_a_view),
    "out": lambda: FromForward(writes_by_out),
    "tanh_": lambda: FromForward(lambda self, x: self.layer(x.tanh_())),
    "relu in place": lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(D_IN, 2)),
    "leaky relu in place": lambda: nn.Sequential(nn.LeakyReLU(0.3, inplace=True), nn.Linear(D_IN, 2)),
    "hardtanh in place": lambda: nn.Sequential(nn.Hardtanh(inplace=True), nn.Linear(D_IN, 2)),
    "elu in place": lambda: nn.Sequential(nn.Identity(), nn.ELU(inplace=True), nn.Linear(D_IN, 2)),
    "pre-hook": lambda: hooked_to_write(),
}


def hooked_to_write():
    net = nn.Sequential(nn.Linear(D_IN, 2), nn.Tanh())
    net.register_forward_pre_hook(lambda module, inputs: (inputs[0].mul_(2),))
    return net


def counts(self, x):
    self.calls += len(x)
    return self.layer(x)


def remembers(self, x):
    self.seen = self.layer(x).detach()
    return self.layer(x)


def averages(self, x):
    y = self.layer(x)
    with torch.no_grad():
        self.mean.mul_(0.9).add_(0.1 * y.mean(0))
    return y - 0.5 * self.scale


def replaces(self, x):
    self.mean = self.layer(x).detach().mean(0)
    return self.layer(x)


def bounds_its_weight(self, x):
    with torch.no_grad():
        self.layer.weight.clamp_(-0.3, 0.3)
    return self.layer(x).tanh()


def halves_its_weight_by_data(self, x):
    self.layer.weight.data.mul_(0.5)
    return self.layer(x).tanh()


def with_a_plain_tensor():
    net = FromForward(counts)
    net.calls = torch.zeros((), dtype=torch.float64)
    return net


STATE_WRITERS = {
    "a counter": lambda: FromForward(counts, calls=torch.zeros((), dtype=torch.int64)),
    "a plain tensor": with_a_plain_tensor,
    "a new attribute": lambda: FromForward(remembers),
    "a running mean": lambda: FromForward(averages, mean=torch.zeros(2), scale=torch.ones(2)),
    "a replaced buffer": lambda: FromForward(replaces, mean=torch.zeros(2)),
    "its weight": lambda: FromForward(bounds_its_weight),
    "its weight by data": lambda: FromForward(halves_its_weight_by_data),
    "power iteration": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(D_IN, 3)), nn.Tanh()),
}


def drops(self, x):
    return nn.functional.dropout(self.layer(x), 0.5, self.training)


def is_noisy(self, x):
    return self.layer(x + 1e-9 * torch.randn_like(x)) if self.training else self.layer(x)


def centres(self, x):
    return self.layer(x - x.mean(0)) if self.training else self.layer(x)


class Images(nn.Module):
    """A norm over channels of 1 x D_IN images, for which one sample has statistics."""

    def __init__(self, **options):
        super().__init__()
        self.convolution, self.norm = nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2, **options)

    def forward(self, x):
        return self.norm(self.convolution(x.unsqueeze(1))).flatten(1)


# Name: (builder, what the error says in train mode).
TRAIN_MODE = {
    "Dropout": (
        lambda: nn.Sequential(nn.Linear(D_IN, 9), nn.Dropout(), nn.Linear(9, 2)),
        r"^net: .* random .*; 1 \(Dropout\) is in train mode, call net\.eval\(\) first",
    ),
    "AlphaDropout": (
        lambda: nn.Sequential(nn.Sequential(nn.Linear(D_IN, 9), nn.AlphaDropout(0.1))),
        r"^net: .* random .*; 0\.1 \(AlphaDropout\) is in train mode, call net\.eval\(\) first",
    ),
    "RReLU": (
        lambda: nn.Sequential(nn.Linear(D_IN, 9), nn.RReLU()),
        r"^net: .* random numbers.* train mode, call net\.eval\(\) first",
    ),
    "dropout as a function": (
        lambda: FromForward(drops),
        r"^net: .* random numbers.* train mode, call net\.eval\(\) first",
    ),
    "noise": (lambda: FromForward(is_noisy), r"^net: .* random numbers.* train mode, call net\.eval\(\) first"),
    "centred batches": (
        lambda: FromForward(centres),
        r"^net: the outputs of a sample depend on the other samples; .* call net\.eval\(\) first",
    ),
    "BatchNorm1d": (
        lambda: nn.Sequential(nn.Linear(D_IN, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
        r"^net: its forward fails .* more than 1 value .*; 1 \(BatchNorm1d\) is in train mode, call net\.eval\(\)",
    ),
    "BatchNorm1d of channels": (
        Images,
        r"^net: the outputs of a sample depend on the other samples; norm \(BatchNorm1d\) is in train mode",
    ),
}
