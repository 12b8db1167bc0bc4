"""Kernels of networks with weight and bias variances in 60 digits, layer by layer from the printed formulas.

Covariances, no complements: [[p, c], [c, r]] of two pre-activations gives E[f(u) f(v)] and E[f'(u) f'(v)].
"""

from functools import cache

import mpmath
from cases import exact

mp = mpmath.MPContext()
mp.dps = 60


def leaky_relu(p, c, r, slope):
    """Cho & Saul 2009 for ReLU; max(z, 0) + slope min(z, 0) mixes it with the linear kernel."""
    root = mp.sqrt(p * r)
    cosine = max(-1, min(1, c / root))
    theta = mp.acos(cosine)
    bent = (mp.sin(theta) + (mp.pi - theta) * cosine) / (2 * mp.pi)
    return (
        root * ((1 - slope) ** 2 * bent + slope * cosine),
        (1 - slope) ** 2 * (mp.pi - theta) / (2 * mp.pi) + slope,
    )


def erf(p, c, r):
    """Williams 1997."""
    squares = (1 + 2 * p) * (1 + 2 * r)
    return 2 / mp.pi * mp.asin(2 * c / mp.sqrt(squares)), 4 / mp.pi / mp.sqrt(squares - 4 * c * c)


def gelu(p, c, r):
    """Tsuchida et al. 2021; the derivative is that of the first by c (Price)."""

    def mean(c):
        wedge = p * r - c * c
        rest = 1 + p + r + wedge
        return c / 4 + (
            c * mp.asin(c / mp.sqrt((1 + p) * (1 + r))) + (wedge + c * c * (1 / (1 + p) + 1 / (1 + r))) / mp.sqrt(rest)
        ) / (2 * mp.pi)

    return mean(c), mp.diff(mean, c)


def moments(activation, slope):
    """(p, c, r) to E[f(u) f(v)] and E[f'(u) f'(v)]."""
    if activation in ("erf", "gelu"):
        return {"erf": erf, "gelu": gelu}[activation]
    if activation == "linear":
        return lambda p, c, r: (c, mp.mpf(1))
    slope = {"relu": 0.0, "abs": -1.0}.get(activation, slope)
    return lambda p, c, r: leaky_relu(p, c, r, mp.mpf(slope)) if p * r else (mp.mpf(0), mp.mpf(0))


class Pair:
    """The kernels of two rows at every depth, layer by layer, from their products x.x, x.z and z.z."""

    def __init__(self, products, features, activation, w_std, b_std, slope=None):
        first, self.weight, self.bias = variances(activation, features, w_std, b_std, slope)
        self.moments = moments(activation, slope)
        self.p, self.c, self.r = (first * product + self.bias for product in products)
        self.kernel = self.c
        # Rounding of 100 digits must not make a cosine of more than 1.
        self.p, self.r, self.c, self.kernel = (mp.mpf(value) for value in (self.p, self.r, self.c, self.kernel))

    def advance(self):
        mean, slope = self.moments(self.p, self.c, self.r)
        self.p, self.r = (self.weight * self.moments(q, q, q)[0] + self.bias for q in (self.p, self.r))
        self.c = self.weight * mean + self.bias
        self.kernel = self.c + self.weight * slope * self.kernel


def variances(activation, features, w_std, b_std, slope):
    if w_std is None and b_std is None:
        one = mp.mpf(1)
        mean = moments(activation, 0.01 if slope is None else slope)(one, one, one)[0]
        return one, 1 / mean, mp.mpf(0)
    w = mp.mpf(2) if w_std is None else mp.mpf(w_std) ** 2
    return w / features, w, mp.mpf(b_std or 0) ** 2


def kernels(x, z, depths, activation, w_std, b_std, slope=None):
    """{depth: (NTK, NNGP)} of two rows of floats."""
    return _kernels(tuple(x), tuple(z), tuple(depths), activation, w_std, b_std, slope)


@cache
def _kernels(x, z, depths, activation, w_std, b_std, slope):
    if activation == "leaky_relu" and slope is None:
        slope = 0.01
    products = exact.dot(x, x), exact.dot(x, z), exact.dot(z, z)
    return at_depths(products, len(x), depths, activation, w_std, b_std, slope)


def at_depths(products, features, depths, activation, w_std, b_std, slope=None):
    """{depth: (NTK, NNGP)} of two rows with these products."""
    pair = Pair(products, features, activation, w_std, b_std, slope)
    found = {}
    for depth in range(max(depths) + 1):
        if depth:
            pair.advance()
        if depth in depths:
            found[depth] = pair.kernel, pair.c
    return found
