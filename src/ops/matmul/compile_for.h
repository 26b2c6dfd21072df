// Compiles some functions for instructions that the rest of the binary does without, on clang and
// GCC. Attributes do not reach into lambdas or standard templates.
#pragma once

#define ALTLAS_PRAGMA(...) _Pragma(#__VA_ARGS__)

// ALTLAS_COMPILE_FOR("avx2,fma") ... ALTLAS_COMPILE_FOR_END: the functions defined in between.
#if defined(__clang__)
#define ALTLAS_COMPILE_FOR(names) \
  ALTLAS_PRAGMA(clang attribute push(__attribute__((target(names))), apply_to = function))
#define ALTLAS_COMPILE_FOR_END ALTLAS_PRAGMA(clang attribute pop)
#define ALTLAS_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ALTLAS_COMPILE_FOR(names) ALTLAS_PRAGMA(GCC push_options) ALTLAS_PRAGMA(GCC target names)
#define ALTLAS_COMPILE_FOR_END ALTLAS_PRAGMA(GCC pop_options)
#define ALTLAS_UNROLL _Pragma("GCC unroll 16")
#endif

// What SimdTarget::kAvx2, kAvxVnni and kAvx512Vnni stand for.
#define ALTLAS_AVX2 "avx2,fma,f16c"
#define ALTLAS_AVX_VNNI ALTLAS_AVX2 ",avxvnni"
#define ALTLAS_AVX512_VNNI ALTLAS_AVX2 ",avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
