// One row of attention: softmax with bias and dropout, and its backward, in loops that the compiler makes vectors of.

#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "exp.h"
#include "vector_clones.h"

// Dropout of one row: whether position j is kept is a hash of the row's seed and j.
struct RowDropout {
  uint32_t seed;
  uint32_t threshold;  // 0: keeps everything
  float factor;        // of what is kept: 1 / (1 - rate)

  // The finaliser "lowbias32" of Chris Wellons's search for hash functions, on a Weyl sequence.
  D2V_INLINE bool keeps(uint32_t j) const {
    uint32_t x = seed + j * 0x9e3779b9u;
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return (x ^ (x >> 16)) >= threshold;
  }
};

// Dropout of attention's weights as a function of (key, head of a sample, row, position): nothing is stored, and the
// backward pass draws the same again.
struct Dropout {
  double rate;
  uint64_t key;

  Dropout(double rate, uint64_t key) : rate(rate), key(key) {}

  RowDropout of_row(uint64_t head, uint64_t row) const {
    uint64_t z = key + (head << 32 | row) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return {static_cast<uint32_t>((z ^ (z >> 31)) >> 32), static_cast<uint32_t>(rate * 4294967296.0),
            static_cast<float>(1.0 / (1.0 - rate))};
  }
};

template <typename T>
D2V_INLINE T softmax_row_of(T* row, const T* bias, int64_t n, RowDropout dropout) {
  T most = -std::numeric_limits<T>::infinity();
  if (bias) {
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < n; ++j) {
      row[j] += bias[j];
      most = row[j] > most ? row[j] : most;
    }
  } else {
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < n; ++j) most = row[j] > most ? row[j] : most;
  }
  // A row that may attend to nothing attends to nothing.
  const T shift = most == -std::numeric_limits<T>::infinity() ? T(0) : most;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    row[j] = exp_of(row[j] - shift);
    sum += row[j];
  }
  const T inverse = sum > 0 ? T(1) / sum : (sum == 0 ? T(0) : sum);
  if (dropout.threshold == 0) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) row[j] *= inverse;
  } else {
    const T kept = inverse * static_cast<T>(dropout.factor);
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) row[j] = dropout.keeps(static_cast<uint32_t>(j)) ? row[j] * kept : T(0);
  }
  // Nothing to attend to: an infinite sum makes every weight 0 in the backward pass too.
  return sum == 0 ? std::numeric_limits<T>::infinity() : shift + std::log(sum);
}

template <typename T>
D2V_INLINE void softmax_row_backward_of(T* row, T* gradient, const T* bias, int64_t n, T log_sum, T dot,
                                        RowDropout dropout) {
  const T factor = static_cast<T>(dropout.factor);
  if (bias) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) row[j] += bias[j];
  }
  if (dropout.threshold == 0) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const T weight = exp_of(row[j] - log_sum);
      row[j] = weight;
      gradient[j] = weight * (gradient[j] - dot);
    }
  } else {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const T weight = exp_of(row[j] - log_sum);
      const T kept = dropout.keeps(static_cast<uint32_t>(j)) ? factor : T(0);
      row[j] = weight * kept;
      gradient[j] = weight * (gradient[j] * kept - dot);
    }
  }
}

template <typename T>
D2V_INLINE T dot_of(const T* a, const T* b, int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) sum += a[j] * b[j];
  return sum;
}

template <typename T>
D2V_INLINE void add_to_of(T* sum, const T* more, int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) sum[j] += more[j];
}

// Turns a row of logits into weights: `row = dropout(softmax(row + bias))`; `bias` may be null. Returns the logarithm
// of the sum of exponentials.
D2V_VARIANTS(float, softmax_row, (float* row, const float* bias, int64_t n, RowDropout dropout), (row, bias, n, dropout))

// From a row of logits and the gradient of its weights to the weights and the gradient of the logits, in place;
// `dot` is the scalar product of the output's row and its gradient.
D2V_VARIANTS(void, softmax_row_backward,
             (float* row, float* gradient, const float* bias, int64_t n, float log_sum, float dot, RowDropout dropout),
             (row, gradient, bias, n, log_sum, dot, dropout))

D2V_VARIANTS(float, dot, (const float* a, const float* b, int64_t n), (a, b, n))
D2V_VARIANTS(void, add_to, (float* sum, const float* more, int64_t n), (sum, more, n))

// Double precision is for checking: as it comes.
inline double softmax_row(double* row, const double* bias, int64_t n, RowDropout dropout) {
  return softmax_row_of(row, bias, n, dropout);
}
inline void softmax_row_backward(double* row, double* gradient, const double* bias, int64_t n, double log_sum, double dot,
                                 RowDropout dropout) {
  softmax_row_backward_of(row, gradient, bias, n, log_sum, dot, dropout);
}
inline double dot(const double* a, const double* b, int64_t n) { return dot_of(a, b, n); }
inline void add_to(double* sum, const double* more, int64_t n) { add_to_of(sum, more, n); }
