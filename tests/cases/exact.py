"""Infinite-width kernels in 100 digits, straight from the printed formulas: cosines, no complements."""

from functools import cache

import mpmath

# Angles of 1e-12 make cosines that differ from 1 by 1e-24 and change by 1e-36 from layer to layer; the kernels are
# then known to more than 50 digits.
mp = mpmath.MPContext()
mp.dps = 100


@cache
def _dot(x, z):
    return mp.fsum(mp.mpf(a) * mp.mpf(b) for a, b in zip(x, z, strict=True))


def dot(x, z):
    """Inner product of two rows of floats."""
    return _dot(tuple(map(float, x)), tuple(map(float, z)))


def norm(x):
    return mp.sqrt(dot(x, x))


def input_angle(x, z):
    """The angle of two rows of floats, from their dot and wedge products."""
    squared = dot(x, x) * dot(z, z) - dot(x, z) ** 2
    return mp.atan2(mp.sqrt(squared if squared > 0 else 0), dot(x, z))


_angles = {}


def angles(theta, depth):
    """theta_0 .. theta_depth at least: cos g(t) = ((pi - t) cos t + sin t) / pi."""
    known = _angles.setdefault(theta, [theta])
    while len(known) <= depth:
        t = known[-1]
        known.append(t if t == 0 else mp.acos(((mp.pi - t) * mp.cos(t) + mp.sin(t)) / mp.pi))
    return known


@cache
def component_cosine(theta, depth, layer):
    """K / (|x||z|) if only W_layer is trained, 1 <= layer <= depth + 1."""
    t = angles(theta, depth)
    return mp.cos(t[layer - 1]) * mp.fprod(1 - t[later] / mp.pi for later in range(layer - 1, depth))


@cache
def kernel_factor(theta, depth, activation):
    """K / (|x||z|)."""
    if activation == "linear":
        return (depth + 1) * mp.cos(theta)
    if activation == "grelu":
        t = angles(theta, depth)
        return depth * mp.cos(t[1]) * mp.fprod(1 - t[s] / mp.pi for s in range(1, depth + 1))
    t = angles(theta, depth)
    total = mp.cos(t[0])
    for layer in range(1, depth + 1):
        total = total * (1 - t[layer - 1] / mp.pi) + mp.cos(t[layer])
    return total


@cache
def gate_share(theta, depth, kind):
    """prod (1 - theta_s/pi) over s = 0 .. depth: gates on for both of two samples that the gates see theta apart."""
    if kind == "shallow":
        return (1 - theta / mp.pi) ** (depth + 1)
    return mp.fprod(1 - t / mp.pi for t in angles(theta, depth)[: depth + 1])


def gated_kernel(x, z, depth, kind, center=None):
    """The kernel of two rows of floats whose gates are those of x - center, of a gate network with a C of its own."""
    mu = [0.0] * len(x) if center is None else list(map(float, center))
    seen = [[mp.mpf(float(v)) - mp.mpf(c) for v, c in zip(row, mu, strict=True)] for row in (x, z)]
    product = mp.fsum(a * b for a, b in zip(*seen, strict=True))
    squares = [mp.fsum(a * a for a in row) for row in seen]
    wedge = squares[0] * squares[1] - product**2
    theta = mp.atan2(mp.sqrt(wedge if wedge > 0 else 0), product)
    return depth * dot(x, z) * gate_share(theta, depth, kind)


def gradient_angle(theta, depth, activation="relu"):
    if activation == "linear" or depth == 0 or theta == 0:
        return theta
    layers = depth if activation == "grelu" else depth + 1
    return mp.acos(kernel_factor(theta, depth, activation) / layers)


def kernel(x, z, depth, activation="relu"):
    """(len(x), len(z)) list of lists for rows of floats."""
    return [[norm(a) * norm(b) * kernel_factor(input_angle(a, b), depth, activation) for b in z] for a in x]
