"""An MLP of gated layers beside the same MLP of Linear and ReLU, on MNIST.

The gates of all layers read the samples themselves, which training does not change, from their mean.
"""

import itertools

import torch
from side_by_side import compare, mnist
from torch import nn

import gatentk as gt


class GatedMLP(nn.Module):
    """Gated layers, then a Linear; each layer skips what its own gates and those of the layer before leave off."""

    def __init__(self, d_in, width, depth, d_out, center, block):
        super().__init__()
        sizes = [d_in, *[width] * depth]
        self.layers = nn.ModuleList(
            gt.nn.GatedLinear(a, b, block=block, center=center, gate_features=d_in)
            for a, b in itertools.pairwise(sizes)
        )
        self.head = nn.Linear(width, d_out)

    def forward(self, x):
        """Logits of samples."""
        z = x
        for layer in self.layers:
            z = layer(z, gate_input=x)
        return self.head(z)


def dense_mlp(d_in, width, depth, d_out):
    """The same sizes with ReLUs."""
    sizes = [d_in, *[width] * depth]
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, d_out))


def main(samples=4000, epochs=20, width=2048, depth=3, block=32):
    """Train both, and print loss, accuracy and seconds side by side."""
    torch.manual_seed(0)
    train, test = mnist(samples)
    gated = GatedMLP(784, width, depth, 10, center=train[0].mean(0), block=block)
    compare({"gated": gated, "dense": dense_mlp(784, width, depth, 10)}, train, test, epochs, rate=3e-4)


if __name__ == "__main__":
    main()
