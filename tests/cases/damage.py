"""Damaged files: one bit of them flipped."""

import random


def flips(content, count, seed=0):
    """That many bits of a file, drawn without repetition; all of them for None."""
    bits = range(8 * len(content))
    return bits if count is None or count >= len(bits) else random.Random(seed).sample(bits, count)


def flipped(content, bit):
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
