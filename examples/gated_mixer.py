"""An MLP-Mixer whose channel mixing is gated beside the one with ReLUs, on the patches of MNIST images.

The gates read what their layer reads: the features of a patch, after LayerNorm.
"""

import torch
from side_by_side import compare, mnist
from torch import nn

import gatentk as gt


class Block(nn.Module):
    """Mixes patches, then the channels of each; `hidden` is the layer that widens the channels."""

    def __init__(self, patches, channels, width, hidden):
        super().__init__()
        self.norm_patches, self.norm_channels = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mix_patches = nn.Sequential(nn.Linear(patches, 2 * patches), nn.ReLU(), nn.Linear(2 * patches, patches))
        self.mix_channels = nn.Sequential(hidden, nn.Linear(width, channels))

    def forward(self, z):
        """(batch, patches, channels) to the same."""
        z = z + self.mix_patches(self.norm_patches(z).mT).mT
        return z + self.mix_channels(self.norm_channels(z))


class Mixer(nn.Module):
    """Blocks on 16 patches of 7 x 7 pixels; `widen` makes the layer from channels to width."""

    def __init__(self, channels, width, depth, widen):
        super().__init__()
        self.embed = nn.Linear(49, channels)
        self.blocks = nn.Sequential(*(Block(16, channels, width, widen(channels, width)) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, 10))

    def forward(self, x):
        """Logits of images (batch, 784)."""
        patches = x.view(-1, 4, 7, 4, 7).transpose(2, 3).reshape(-1, 16, 49)
        return self.head(self.blocks(self.embed(patches)).mean(1))


def main(samples=4000, epochs=6, channels=256, width=2048, depth=2, block=32):
    """Train both, and print loss, accuracy and seconds side by side."""
    torch.manual_seed(0)
    train, test = mnist(samples)
    gated = Mixer(channels, width, depth, lambda a, b: gt.nn.GatedLinear(a, b, block=block))
    dense = Mixer(channels, width, depth, lambda a, b: nn.Sequential(nn.Linear(a, b), nn.ReLU()))
    compare({"gated": gated, "dense": dense}, train, test, epochs, rate=5e-4)


if __name__ == "__main__":
    main()
