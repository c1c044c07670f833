// Matrix products on rows with a stride, by the BLAS inside libtorch; for use in threads of libtorch's pool, where
// each product runs on the one thread that asked.

#pragma once

#include <dlfcn.h>

#include <cstdint>

// The Fortran interface, with 32-bit integers.
template <typename T>
using GemmFunction = void (*)(const char*, const char*, const int*, const int*, const int*, const T*, const T*, const int*,
                              const T*, const int*, const T*, T*, const int*);

// Looked for at run time: libtorch shows its BLAS on some platforms only.
template <typename T>
GemmFunction<T> gemm_function() {
  static const auto function =
      reinterpret_cast<GemmFunction<T>>(dlsym(RTLD_DEFAULT, sizeof(T) == sizeof(float) ? "sgemm_" : "dgemm_"));
  return function;
}

inline bool blas_available() { return gemm_function<float>() && gemm_function<double>(); }

// A matrix by its rows, `stride` elements apart.
template <typename T>
struct Rows {
  const T* data;
  int64_t stride;
  static constexpr char flag = 'N';
};

// The transpose of a matrix given by its rows.
template <typename T>
struct Transposed {
  const T* data;
  int64_t stride;
  static constexpr char flag = 'T';
};

// c = alpha · a b + beta · c, where a is m × k, b is k × n, and rows of c are `c_stride` apart.
//
// Fortran reads rows as columns: what it is asked for is cᵀ = bᵀ aᵀ.
template <typename T, typename A, typename B>
void gemm(A a, B b, int64_t m, int64_t n, int64_t k, T alpha, T beta, T* c, int64_t c_stride) {
  const int rows = static_cast<int>(m), columns = static_cast<int>(n), inner = static_cast<int>(k);
  const int a_stride = static_cast<int>(a.stride), b_stride = static_cast<int>(b.stride);
  const int out_stride = static_cast<int>(c_stride);
  gemm_function<T>()(&B::flag, &A::flag, &columns, &rows, &inner, &alpha, b.data, &b_stride, a.data, &a_stride, &beta, c,
                     &out_stride);
}
