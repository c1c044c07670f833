// Matrix products of tiles that lie in a core's own cache, on the one thread that asks.
//
// A library's product packs both of its operands at every call, which for the narrow matrices of one head of attention
// costs as much as it gains, and on processors of other makers MKL has kernels of half the vectors' width. Here the right
// operand is packed once and multiplied many times, and the left one is read where it lies, as it is or transposed.

#pragma once

#include <algorithm>
#include <cstdint>

#include "vector_clones.h"

// A matrix in memory: element (i, j) lies at data[i · row + j · column].
template <typename T>
struct Matrix {
  const T* data;
  int64_t row, column;
};

// A matrix by its rows, `stride` elements apart.
template <typename T>
Matrix<T> rows(const T* data, int64_t stride) {
  return {data, stride, 1};
}

// The transpose of a matrix given by its rows.
template <typename T>
Matrix<T> transposed(const T* data, int64_t stride) {
  return {data, 1, stride};
}

// What one product reads and writes: c = a b, or c += a b, with `b` packed.
template <typename T>
struct TileProduct {
  Matrix<T> a;
  const T* b;
  int64_t m, n, k;
  T* c;
  int64_t c_stride;
  bool adds;
};

namespace tile {

// Columns of the widest panel of any variant, a multiple of each.
constexpr int64_t widest = 64;

constexpr int64_t panels_of(int64_t n, int64_t width) { return (n + width - 1) / width * width; }

// How a variant cuts its operands up: sums of Rows × Vectors vectors of Lanes elements stay in registers.
template <typename T, int LANES, int VECTORS, int ROWS>
struct Shape {
  static constexpr int lanes = LANES, vectors = VECTORS, rows = ROWS;
  static constexpr int64_t width = LANES * VECTORS;
  typedef T Vector __attribute__((vector_size(LANES * sizeof(T)), aligned(alignof(T)), may_alias));
};

// Columns of the panel that begins at column `j`: the last one has no more vectors than it needs.
template <typename S>
D2V_INLINE int64_t panel_width(int64_t n, int64_t j) {
  return std::min<int64_t>(S::width, panels_of(n - j, S::lanes));
}

// b · scale as panels, [k, width] one behind the other, with zeros where b has no column.
template <typename T, typename S>
D2V_INLINE void pack_of(Matrix<T> b, int64_t k, int64_t n, T scale, T* packed) {
  for (int64_t j = 0; j < n; j += S::width) {
    const int64_t width = panel_width<S>(n, j), real = std::min(width, n - j);
    const T* from = b.data + j * b.column;
    if (b.column == 1) {
      for (int64_t p = 0; p < k; ++p) {
        for (int64_t i = 0; i < real; ++i) packed[p * width + i] = from[p * b.row + i] * scale;
        for (int64_t i = real; i < width; ++i) packed[p * width + i] = T(0);
      }
    } else {
      for (int64_t i = 0; i < real; ++i) {
        for (int64_t p = 0; p < k; ++p) packed[p * width + i] = from[i * b.column + p * b.row] * scale;
      }
      for (int64_t i = real; i < width; ++i) {
        for (int64_t p = 0; p < k; ++p) packed[p * width + i] = T(0);
      }
    }
    packed += k * width;
  }
}

// ROWS rows of c by one panel of VECTORS vectors, of which `columns` columns are real.
template <typename T, typename S, int ROWS, int VECTORS>
D2V_INLINE void block(const T* a, int64_t a_row, int64_t a_column, const T* b, int64_t k, T* c, int64_t c_stride,
                      int64_t columns, bool adds) {
  using Vector = typename S::Vector;
  Vector sum[ROWS][VECTORS] = {};
  for (int64_t p = 0; p < k; ++p, a += a_column, b += VECTORS * S::lanes) {
    Vector right[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) right[v] = *reinterpret_cast<const Vector*>(b + v * S::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const T left = a[r * a_row];
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) sum[r][v] += left * right[v];
    }
  }
  if (columns == VECTORS * S::lanes) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) {
        auto* to = reinterpret_cast<Vector*>(c + r * c_stride + v * S::lanes);
        *to = adds ? *to + sum[r][v] : sum[r][v];
      }
    }
    return;
  }
  T spill[ROWS][VECTORS * S::lanes];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) *reinterpret_cast<Vector*>(spill[r] + v * S::lanes) = sum[r][v];
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int64_t j = 0; j < columns; ++j) c[r * c_stride + j] = (adds ? c[r * c_stride + j] : T(0)) + spill[r][j];
  }
}

// All rows of c by one panel; what is left behind whole blocks of rows goes one row at a time.
template <typename T, typename S, int VECTORS>
D2V_INLINE void panel(const TileProduct<T>& p, const T* b, int64_t j) {
  const int64_t columns = std::min<int64_t>(VECTORS * S::lanes, p.n - j);
  int64_t i = 0;
  for (; i + S::rows <= p.m; i += S::rows) {
    block<T, S, S::rows, VECTORS>(p.a.data + i * p.a.row, p.a.row, p.a.column, b, p.k, p.c + i * p.c_stride + j, p.c_stride,
                                  columns, p.adds);
  }
  for (; i < p.m; ++i) {
    block<T, S, 1, VECTORS>(p.a.data + i * p.a.row, p.a.row, p.a.column, b, p.k, p.c + i * p.c_stride + j, p.c_stride,
                            columns, p.adds);
  }
}

template <typename T, typename S>
D2V_INLINE void multiply_of(const TileProduct<T>& p) {
  const T* b = p.b;
  for (int64_t j = 0; j < p.n; j += S::width) {
    const int64_t width = panel_width<S>(p.n, j);
    switch (width / S::lanes) {
      case 1: panel<T, S, 1>(p, b, j); break;
      case 2: panel<T, S, 2>(p, b, j); break;
      case 3: panel<T, S, S::vectors < 3 ? 1 : 3>(p, b, j); break;
      default: panel<T, S, S::vectors>(p, b, j);
    }
    b += p.k * width;
  }
}

using Wide = Shape<float, 16, 4, 6>;    // 24 sums, 4 of b and one of a in the 32 registers of AVX-512
using Middle = Shape<float, 8, 2, 6>;   // 12 sums, 2 of b and one of a in the 16 registers of AVX2
using Narrow = Shape<float, 4, 2, 4>;
using Double = Shape<double, 2, 2, 4>;  // for checking: as it comes

D2V_AVX512 static void pack_avx512(Matrix<float> b, int64_t k, int64_t n, float scale, float* packed) {
  pack_of<float, Wide>(b, k, n, scale, packed);
}
D2V_AVX2 static void pack_avx2(Matrix<float> b, int64_t k, int64_t n, float scale, float* packed) {
  pack_of<float, Middle>(b, k, n, scale, packed);
}
static void pack_baseline(Matrix<float> b, int64_t k, int64_t n, float scale, float* packed) {
  pack_of<float, Narrow>(b, k, n, scale, packed);
}
D2V_AVX512 static void multiply_avx512(const TileProduct<float>& p) { multiply_of<float, Wide>(p); }
D2V_AVX2 static void multiply_avx2(const TileProduct<float>& p) { multiply_of<float, Middle>(p); }
static void multiply_baseline(const TileProduct<float>& p) { multiply_of<float, Narrow>(p); }

static const auto pack_best = best_variant(pack_avx512, pack_avx2, pack_baseline);
static const auto multiply_best = best_variant(multiply_avx512, multiply_avx2, multiply_baseline);

}  // namespace tile

// Elements that `pack` writes at most.
inline int64_t packed_size(int64_t k, int64_t n) { return k * tile::panels_of(n, tile::widest); }

// b · scale, [k, n], in the order in which `multiply` reads it.
inline void pack(Matrix<float> b, int64_t k, int64_t n, float scale, float* packed) { tile::pack_best(b, k, n, scale, packed); }
inline void pack(Matrix<double> b, int64_t k, int64_t n, double scale, double* packed) {
  tile::pack_of<double, tile::Double>(b, k, n, scale, packed);
}

inline void multiply(const TileProduct<float>& product) { tile::multiply_best(product); }
inline void multiply(const TileProduct<double>& product) { tile::multiply_of<double, tile::Double>(product); }
