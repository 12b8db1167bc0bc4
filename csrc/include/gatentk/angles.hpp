// Angles between two samples, theta, seen as eps = 1 - cos theta.
#pragma once

namespace gatentk {

constexpr double pi = 3.14159265358979323846;

// Below this eps (18 degrees, and as much around 180) the Gram matrix does not determine the angle well enough:
// its error of a few ulp, divided by sin theta, would show in the kernel. The pair is recomputed from its samples.
constexpr double close_pair = 0.05;

}  // namespace gatentk
