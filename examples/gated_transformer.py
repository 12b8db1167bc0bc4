"""A transformer whose feed-forward blocks are gated beside the one with ReLUs, on the patches of MNIST images.

The gates read the pixels of their patch, which training does not change: `gate_input` goes down to every block.
"""

import torch
from side_by_side import compare, mnist
from torch import nn

import gatentk as gt


class Block(nn.Module):
    """Attention, then the feed-forward block, each after LayerNorm and beside the residual connection."""

    def __init__(self, features, heads, width, widen):
        super().__init__()
        self.norm_attention, self.norm_forward = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attention = nn.MultiheadAttention(features, heads, batch_first=True)
        self.widen, self.narrow = widen, nn.Linear(width, features)

    def forward(self, z, patches):
        """(batch, patches, features) to the same; `patches` are the pixels."""
        normal = self.norm_attention(z)
        z = z + self.attention(normal, normal, normal, need_weights=False)[0]
        return z + self.narrow(self.widen(self.norm_forward(z), patches))


class Rectified(nn.Module):
    """Linear and ReLU, whatever the patches are."""

    def __init__(self, features, width):
        super().__init__()
        self.linear = nn.Linear(features, width)

    def forward(self, z, patches):
        """The layer's outputs."""
        return self.linear(z).relu()


class Transformer(nn.Module):
    """Blocks on 16 patches of 7 x 7 pixels; `widen` makes the layer from features to width."""

    def __init__(self, features, width, depth, widen, heads=4):
        super().__init__()
        self.embed = nn.Linear(49, features)
        self.position = nn.Parameter(0.02 * torch.randn(16, features))
        self.blocks = nn.ModuleList(Block(features, heads, width, widen(features, width)) for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, 10))

    def forward(self, x):
        """Logits of images (batch, 784)."""
        patches = x.view(-1, 4, 7, 4, 7).transpose(2, 3).reshape(-1, 16, 49)
        z = self.embed(patches) + self.position
        for block in self.blocks:
            z = block(z, patches)
        return self.head(z.mean(1))


def main(samples=4000, epochs=6, features=256, width=2048, depth=2, block=32):
    """Train both, and print loss, accuracy and seconds side by side."""
    torch.manual_seed(0)
    train, test = mnist(samples)
    center = train[0].view(-1, 4, 7, 4, 7).transpose(2, 3).reshape(-1, 49).mean(0)

    def gated(a, b):
        return gt.nn.GatedLinear(a, b, block=block, center=center, gate_features=49)

    models = {
        name: Transformer(features, width, depth, widen) for name, widen in (("gated", gated), ("dense", Rectified))
    }
    compare(models, train, test, epochs, rate=5e-4)


if __name__ == "__main__":
    main()
