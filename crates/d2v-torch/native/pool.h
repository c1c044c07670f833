// Loops in libtorch's own pool of threads.

#pragma once

#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

#include <cstdint>

// Calls `body(first, last)` on ranges of 0..count that cover it.
//
// An iterator of libtorch's own splits the range: at::parallel_for would want our files compiled with OpenMP and
// linked to the very runtime that libtorch brings.
template <typename Body>
void in_pool(int64_t count, const Body& body) {
  auto numbers = at::empty({count}, at::kByte);
  const auto* start = static_cast<const char*>(numbers.data_ptr());
  auto iterator = at::TensorIterator::borrowing_nullary_op(numbers);
  iterator.for_each(
      [&](char** data, const int64_t* /*strides*/, int64_t n) {
        const int64_t first = data[0] - start;
        body(first, first + n);
      },
      /*grain_size=*/1);
}

// Rows in groups of their own sums: fixed by the number of rows alone, so that bits do not depend on threads.
struct RowGroups {
  int64_t rows, groups;

  explicit RowGroups(int64_t rows) : rows(rows), groups(rows < 32 ? 1 : rows < 1024 ? rows / 16 : 64) {}
  int64_t begin(int64_t group) const { return group * rows / groups; }
};
