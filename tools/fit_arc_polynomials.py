"""Writes csrc/include/gatentk/arc_polynomials.hpp: two functions of eps = 1 - cos(theta) that a ReLU layer needs.

With r = sqrt(eps), both are analytic around 0, so that nothing cancels for small angles:

    theta / pi                             = r * arc(eps)
    (sin theta - theta cos theta) / pi     = eps * r * drop(eps)

Coefficients come from interpolation at Chebyshev points in 60 digits, the degree is the smallest whose relative
error stays below the unit roundoff of the type over 4. Run: python tools/fit_arc_polynomials.py (needs mpmath).
"""

from __future__ import annotations

from pathlib import Path

import mpmath as mp

mp.mp.dps = 60

# eps_l is at most 1 for l = 0 (as 1 - |cos|) and l = 1, then shrinks: eps_2 <= 1 - 1/pi, ... (mathematics of
# theta_{l+1} = g(theta_l) started at theta_1 = pi/2). A layer uses the polynomial of its own range.
LEVELS = 5


def theta(eps: mp.mpf) -> mp.mpf:
    return 2 * mp.asin(mp.sqrt(eps / 2))


def arc(eps: mp.mpf) -> mp.mpf:
    return theta(eps) / mp.pi / mp.sqrt(eps) if eps else mp.sqrt(2) / mp.pi


def drop(eps: mp.mpf) -> mp.mpf:
    if eps < mp.mpf(10) ** -15:
        return mp.sqrt(2) * 2 / (3 * mp.pi)
    t = theta(eps)
    return (mp.sin(t) - t * (1 - eps)) / mp.pi / eps / mp.sqrt(eps)


def fit(function, top: mp.mpf, degree: int) -> list[mp.mpf]:
    """Monomial coefficients (lowest first) of the interpolant at Chebyshev points of [0, top]."""
    count = degree + 1
    nodes = [top / 2 * (1 + mp.cos(mp.pi * (2 * k + 1) / (2 * count))) for k in range(count)]
    table = [function(x) for x in nodes]
    for step in range(1, count):
        for k in range(count - 1, step - 1, -1):
            table[k] = (table[k] - table[k - 1]) / (nodes[k] - nodes[k - step])
    coefficients = [table[-1]]
    for k in range(count - 2, -1, -1):
        shifted = [mp.mpf(0), *coefficients]
        for i, value in enumerate(coefficients):
            shifted[i] -= nodes[k] * value
        shifted[0] += table[k]
        coefficients = shifted
    return coefficients


def error(function, coefficients: list[mp.mpf], top: mp.mpf) -> mp.mpf:
    points = [top * k / 200 for k in range(201)]
    return max(abs(mp.polyval(coefficients[::-1], x) / function(x) - 1) for x in points)


def tops() -> list[mp.mpf]:
    """Largest eps of each level: 1, then eps_2, eps_3, ... of the pair with theta_1 = pi/2."""
    result, eps = [mp.mpf(1)], mp.mpf(1)
    for _ in range(LEVELS - 1):
        eps -= eps * mp.sqrt(eps) * drop(eps)
        result.append(eps * (1 + mp.mpf(2) ** -20))
    return result


def smallest(function, top: mp.mpf, unit: float) -> list[mp.mpf]:
    for degree in range(3, 40):
        coefficients = fit(function, top, degree)
        if error(function, coefficients, top) < unit / 4:
            return coefficients
    raise RuntimeError("no degree below 40 is accurate enough")


def declare(kind: str, name: str, rows: list[list[mp.mpf]], digits: int, suffix: str) -> str:
    width = max(map(len, rows))
    text = [f"// highest power first; degrees {', '.join(str(len(r) - 1) for r in rows)}"]
    text.append(f"constexpr int {name}_degree[] = {{{', '.join(str(len(r) - 1) for r in rows)}}};")
    text.append(f"constexpr {kind} {name}[][{width}] = {{")
    for row in rows:
        text.append(
            "    {" + ", ".join(mp.nstr(c, digits, min_fixed=0, max_fixed=0) + suffix for c in row[::-1]) + "},"
        )
    return "\n".join([*text, "};"])


def main() -> None:
    limits = tops()
    blocks = []
    for kind, short, unit, digits, suffix in (("double", "f64", 2.0**-53, 21, ""), ("float", "f32", 2.0**-24, 12, "f")):
        for function in (arc, drop):
            rows = [smallest(function, top, unit) for top in limits]
            blocks.append(declare(kind, f"{function.__name__}_{short}", rows, digits, suffix))
    ranges = ", ".join(mp.nstr(t, 6) for t in limits)
    header = f"""// Written by tools/fit_arc_polynomials.py: theta/pi = sqrt(eps) arc(eps) and
// (sin theta - theta cos theta)/pi = eps sqrt(eps) drop(eps), eps = 1 - cos theta, for the ranges of eps
// [0, top] with top = {ranges}.
#pragma once

namespace gatentk {{

"""
    body = "\n\n".join(blocks)
    Path(__file__).parents[1].joinpath("csrc/include/gatentk/arc_polynomials.hpp").write_text(
        f"{header}constexpr int arc_levels = {LEVELS};\n"
        f"constexpr double arc_top[] = {{{ranges}}};\n\n{body}\n\n}}  // namespace gatentk\n"
    )


if __name__ == "__main__":
    main()
