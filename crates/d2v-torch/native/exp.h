// The exponential function in a form that the compiler makes vectors of.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "vector_clones.h"

// e^x for x <= 0, within 2 units in the last place (0 below -87, where normal numbers end): the range reduced to
// [-ln 2 / 2, ln 2 / 2], there the Taylor polynomial of degree 7. What is not a number stays so.
D2V_INLINE float exp_of(float x) {
  const float inside = x < -87.0f ? -87.0f : x;
  const float shifted = inside * 1.44269504f + 12582912.0f;  // 1.5 · 2^23: the fraction is rounded away
  const float n = shifted - 12582912.0f;
  const float r = (inside - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;  // 2^n: only the low bits of the shifted sum survive
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.0f ? 0.0f : p * power;
}

D2V_INLINE double exp_of(double x) { return std::exp(x); }
