// Functions compiled for several kinds of processor, of which the best that is there is taken at run time.

#pragma once

#include <cstdlib>
#include <cstring>

// Inlined into each of the variants below, so that it is compiled for their processors.
#define D2V_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GNUC__)

#define D2V_AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#define D2V_AVX2 __attribute__((target("avx2,fma")))

// Whether D2V_VECTORS, a limit for trying what lesser processors take, allows vectors of this kind: `avx2` and `none`
// do not allow all.
inline bool vectors_allowed(const char* kind) {
  const char* limit = std::getenv("D2V_VECTORS");
  return !limit || std::strcmp(limit, "avx512") == 0 || std::strcmp(limit, kind) == 0;
}

template <typename Function>
Function best_variant(Function avx512, Function avx2, Function baseline) {
  __builtin_cpu_init();
  if (vectors_allowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return avx512;
  }
  return vectors_allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2 : baseline;
}

#else

#define D2V_AVX512
#define D2V_AVX2

template <typename Function>
Function best_variant(Function, Function, Function baseline) {
  return baseline;
}

#endif

// Defines NAME with these parameters, made of the template NAME_of.
//
// By hand rather than by the attribute `target_clones`, which takes features one at a time and names of processors
// only where they match exactly.
#define D2V_VARIANTS(RETURN, NAME, PARAMETERS, ARGUMENTS)                                            \
  D2V_AVX512 static RETURN NAME##_avx512 PARAMETERS { return NAME##_of ARGUMENTS; }                  \
  D2V_AVX2 static RETURN NAME##_avx2 PARAMETERS { return NAME##_of ARGUMENTS; }                      \
  static RETURN NAME##_baseline PARAMETERS { return NAME##_of ARGUMENTS; }                           \
  static const auto NAME##_best = best_variant(NAME##_avx512, NAME##_avx2, NAME##_baseline);         \
  inline RETURN NAME PARAMETERS { return NAME##_best ARGUMENTS; }
