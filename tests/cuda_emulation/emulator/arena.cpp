#include <algorithm>
#include <cstring>

#include "lanes.hpp"
#include "sanitizers.hpp"

namespace gatentk::emulation {

namespace {

// Between spans. A multiple of the largest alignment that a kernel may ask for, so that a span is aligned here exactly
// as it is on the device.
constexpr int redzone = 128;
constexpr int most_spans = 32;
constexpr int poison = 0xff;  // NaN as float, double and bfloat16

}  // namespace

void Arena::reset(int shared_bytes) {
  shared_bytes_ = shared_bytes;
  const std::size_t reach = static_cast<std::size_t>(shared_bytes) + (most_spans + 1) * redzone;
  if (reach > size_) {
    memory_ = std::make_unique<std::byte[]>(reach + redzone);
    size_ = reach;
    const auto misplaced = reinterpret_cast<std::uintptr_t>(memory_.get()) % redzone;
    base_ = memory_.get() + (redzone - misplaced) % redzone;
  }
  allow_memory(base_, size_);
  std::memset(base_, poison, size_);
  forbid_memory(base_, size_);
  spans_.clear();
}

Span Arena::append(int bytes, int alignment) const {
  const int end = spans_.empty() ? 0 : spans_.back().offset + spans_.back().bytes;
  const int offset = (end + alignment - 1) / alignment * alignment;
  return {offset, bytes, offset + (static_cast<int>(spans_.size()) + 1) * redzone};
}

std::byte* Arena::take(int index, int bytes, int alignment) {
  if (bytes < 0 || alignment < 1 || alignment > redzone || (alignment & (alignment - 1)) != 0) {
    fail("a span of " + std::to_string(bytes) + " bytes of shared memory, aligned to " + std::to_string(alignment));
  }
  if (index < static_cast<int>(spans_.size())) {
    const Span& span = spans_[index];
    if (span.bytes != bytes || span.offset % alignment != 0) fail("threads take different spans of shared memory");
    return base_ + span.place;
  }
  const Span span = append(bytes, alignment);
  if (span.offset + bytes > shared_bytes_) {
    fail("takes " + std::to_string(span.offset + bytes) + " bytes of shared memory, but was launched with " +
         std::to_string(shared_bytes_));
  }
  if (index == most_spans) fail("takes more than " + std::to_string(most_spans) + " spans of shared memory");
  spans_.push_back(span);
  allow_memory(base_ + span.place, bytes);
  return base_ + span.place;
}

void Arena::check_redzones() const {
  allow_memory(base_, size_);
  std::size_t from = 0;
  const auto check = [&](std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
      if (base_[i] != std::byte{poison}) fail("something was written to shared memory outside of all spans");
    }
  };
  for (const Span& span : spans_) {
    check(static_cast<std::size_t>(span.place));
    from = static_cast<std::size_t>(span.place + span.bytes);
  }
  check(from + redzone);
}

int Arena::offset(const void* address) const {
  const auto place = static_cast<int>(static_cast<const std::byte*>(address) - base_);
  for (const Span& span : spans_) {
    if (place >= span.place && place < span.place + span.bytes) return span.offset + place - span.place;
  }
  return -1;
}

}  // namespace gatentk::emulation
