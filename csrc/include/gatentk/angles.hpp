// Angles between two samples, theta, seen as eps = 1 - cos theta.
#pragma once

namespace gatentk {

constexpr double pi = 3.14159265358979323846;

// Below this eps (20 degrees, and as much around 180) the Gram matrix does not determine the angle well enough:
// its error of a few ulp, divided by sin theta, would show in the kernel. The pair is recomputed from its samples.
constexpr double close_pair = 0.06;

// Of such a pair z is taken apart into t x and w. Where more than this share of |w|^2 lies along x, which is the
// rounding of t, w is freed of it a second time; and where less than the square of some ulp is then left, that is the
// rounding of w: the samples are parallel.
constexpr double close_part = 0.5;
constexpr double parallel_part = 0x1p-98;

}  // namespace gatentk
