// Many vectors that must stay in registers, and loops over them that are gone after compilation.
#pragma once

#include "cpu/simd.hpp"

namespace gatentk::cpu::GATENTK_ISA {

// The sums of a micro-tile, addressed by constants only: an array, even one whose every loop is unrolled, is kept in
// memory by GCC and written back between runs of visits.
template <class T, int count>
struct Sums : Sums<T, count - 1> {
  Vector<T> last;
};
template <class T>
struct Sums<T, 0> {};

template <int index, class T, int count>
static GATENTK_INLINE Vector<T>& sum_at(Sums<T, count>& sums) {
  return static_cast<Sums<T, index + 1>&>(sums).last;
}

// Calls f(constant<0>), ..., f(constant<count - 1>).
template <int value>
struct Constant {
  static constexpr int index = value;
};
template <int count, class Function>
static GATENTK_INLINE void unrolled(Function&& f) {
  if constexpr (count > 0) {
    unrolled<count - 1>(f);
    f(Constant<count - 1>{});
  }
}

}  // namespace gatentk::cpu::GATENTK_ISA
