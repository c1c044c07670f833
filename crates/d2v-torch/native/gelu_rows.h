// GELU of a row with its bias, and the backward of both, in loops that the compiler makes vectors of.

#pragma once

#include <cmath>
#include <cstdint>

#include "exp.h"
#include "vector_clones.h"

// Φ(x), the normal distribution, and e^(-x²/2), from which GELU and its derivative are made.
template <typename T>
struct Normal {
  T cumulative, bell;
};

// erfc(z) = e^(-z²) · t · Q(t) with t = 1 / (1 + 0.42 z): the form of Abramowitz and Stegun 7.1.26 with eight
// coefficients, fitted for the smallest relative error on 0 <= z <= 7, 5e-8. One exponential gives both members, and
// the tails lose nothing to a difference from 1.
D2V_INLINE Normal<float> normal_of(float x) {
  const float z = std::fabs(x) * 0.70710678f;
  const float t = 1.0f / (1.0f + 0.42f * z);
  float q = 0.07493449f;
  q = q * t - 0.34041327f;
  q = q * t + 0.47656491f;
  q = q * t - 0.16485937f;
  q = q * t + 0.28774764f;
  q = q * t + 0.18865231f;
  q = q * t + 0.24062159f;
  q = q * t + 0.23675162f;
  const float bell = exp_of(-0.5f * x * x);
  const float tail = 0.5f * bell * t * q;
  return {x < 0.0f ? tail : 1.0f - tail, bell};
}

D2V_INLINE Normal<double> normal_of(double x) {
  return {0.5 * std::erfc(-x * 0.70710678118654752440), std::exp(-0.5 * x * x)};
}

// activation = gelu(hidden + bias); `activation` may be `hidden`.
template <typename T>
D2V_INLINE void gelu_row_of(const T* hidden, const T* bias, T* activation, int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    const T x = hidden[j] + bias[j];
    activation[j] = x * normal_of(x).cumulative;
  }
}

// From the gradient of the activation to that of the hidden row, in place, and the activation once more; adds the
// gradient to `sum`, which is that of the bias.
template <typename T>
D2V_INLINE void gelu_row_backward_of(const T* hidden, const T* bias, T* gradient, T* activation, T* sum, int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    const T x = hidden[j] + bias[j];
    const auto normal = normal_of(x);
    activation[j] = x * normal.cumulative;
    const T slope = normal.cumulative + x * normal.bell * static_cast<T>(0.39894228040143267794);
    const T d = gradient[j] * slope;
    gradient[j] = d;
    sum[j] += d;
  }
}

D2V_VARIANTS(void, gelu_row, (const float* hidden, const float* bias, float* activation, int64_t n),
             (hidden, bias, activation, n))
D2V_VARIANTS(void, gelu_row_backward,
             (const float* hidden, const float* bias, float* gradient, float* activation, float* sum, int64_t n),
             (hidden, bias, gradient, activation, sum, n))

// Double precision is for checking: as it comes.
inline void gelu_row(const double* hidden, const double* bias, double* activation, int64_t n) {
  gelu_row_of(hidden, bias, activation, n);
}
inline void gelu_row_backward(const double* hidden, const double* bias, double* gradient, double* activation, double* sum,
                              int64_t n) {
  gelu_row_backward_of(hidden, bias, gradient, activation, sum, n);
}
