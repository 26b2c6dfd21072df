#include "ops/roof/roof.h"

#include <cstring>

#include "ops/matmul/compile_for.h"
#include "ops/simd.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace altlas::ops {
namespace {

constexpr int kChains = 16;                       // Independent sums, enough to hide every latency.
constexpr uint64_t kBlock = 64;                   // Instructions of each chain in a round.
[[maybe_unused]] constexpr size_t kAhead = 4096;  // Bytes of linear prefetch.

// Portable forms, for the scalar target and other machines.
uint64_t read_plain(std::span<const std::byte> memory, uint64_t& sink) {
  uint64_t sums[8] = {};
  size_t at = 0;
  for (; at + 64 <= memory.size(); at += 64) {
    uint64_t line[8];
    std::memcpy(line, memory.data() + at, 64);
    for (int i = 0; i < 8; ++i) sums[i] += line[i];
  }
  for (const uint64_t sum : sums) sink += sum;
  return at;
}
uint64_t int8_plain(uint64_t rounds, uint64_t& sink) {
  int32_t sums[kChains] = {};
  int8_t a = static_cast<int8_t>(sink), b = static_cast<int8_t>(sink >> 8);
  for (uint64_t r = 0; r < rounds * kBlock; ++r)
    for (int32_t& sum : sums) sum += a++ * b;
  for (const int32_t sum : sums) sink += static_cast<uint32_t>(sum);
  return rounds * kBlock * kChains;
}
uint64_t float_plain(uint64_t rounds, uint64_t& sink) {
  float sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = static_cast<float>(i);
  const float a = 0.5f + static_cast<float>(sink & 1), b = 0.25f;
  for (uint64_t r = 0; r < rounds * kBlock; ++r)
    for (float& sum : sums) sum = sum * a + b;
  for (const float sum : sums) sink += static_cast<uint64_t>(sum != 0);
  return rounds * kBlock * kChains;
}

#if defined(__x86_64__)
ALTLAS_COMPILE_FOR(ALTLAS_AVX2)
uint64_t read_avx2(std::span<const std::byte> memory, uint64_t& sink) {
  __m256i sums[8];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  size_t at = 0;
  for (; at + 256 <= memory.size(); at += 256) {
    const auto* lines = reinterpret_cast<const __m256i*>(memory.data() + at);
    for (int i = 0; i < 8; i += 2)
      _mm_prefetch(reinterpret_cast<const char*>(lines + i) + kAhead, _MM_HINT_T0);
    for (int i = 0; i < 8; ++i) sums[i] = _mm256_add_epi64(sums[i], _mm256_loadu_si256(lines + i));
  }
  for (const __m256i sum : sums) sink += static_cast<uint64_t>(_mm256_extract_epi64(sum, 0));
  return at;
}
// The best case without a dot-product instruction: 16-bit sums of many products before one
// widening.
uint64_t int8_avx2(uint64_t rounds, uint64_t& sink) {
  __m256i sums[12];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  __m256i a = _mm256_set1_epi8(static_cast<char>(sink & 63));
  const __m256i b = _mm256_set1_epi8(1);
  for (uint64_t r = 0; r < rounds * kBlock; ++r) {
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(a));  // Without this, one product would serve all chains.
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b));
    }
  }
  for (const __m256i sum : sums) sink += static_cast<uint64_t>(_mm256_extract_epi64(sum, 0));
  return rounds * kBlock * 12 * 32;
}
uint64_t float_avx2(uint64_t rounds, uint64_t& sink) {
  __m256 sums[12];
  for (int i = 0; i < 12; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.5f + static_cast<float>(sink & 1)), b = _mm256_set1_ps(0.25f);
  for (uint64_t r = 0; r < rounds * kBlock; ++r)
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, a, b);
  for (const __m256 sum : sums) sink += static_cast<uint64_t>(_mm256_cvtss_f32(sum) != 0);
  return rounds * kBlock * 12 * 8;
}
ALTLAS_COMPILE_FOR_END

ALTLAS_COMPILE_FOR(ALTLAS_AVX_VNNI)
uint64_t int8_avx_vnni(uint64_t rounds, uint64_t& sink) {
  __m256i sums[12];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  const __m256i a = _mm256_set1_epi8(static_cast<char>(sink & 127)), b = _mm256_set1_epi8(3);
  for (uint64_t r = 0; r < rounds * kBlock; ++r)
    for (__m256i& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, a, b);
  for (const __m256i sum : sums) sink += static_cast<uint64_t>(_mm256_extract_epi64(sum, 0));
  return rounds * kBlock * 12 * 32;
}
ALTLAS_COMPILE_FOR_END

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI)
uint64_t read_avx512(std::span<const std::byte> memory, uint64_t& sink) {
  __m512i sums[8];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  size_t at = 0;
  for (; at + 512 <= memory.size(); at += 512) {
    const std::byte* lines = memory.data() + at;
    for (int i = 0; i < 8; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(lines + 64 * i) + kAhead, _MM_HINT_T0);
      sums[i] = _mm512_add_epi64(sums[i], _mm512_loadu_si512(lines + 64 * i));
    }
  }
  for (const __m512i sum : sums) sink += static_cast<uint64_t>(_mm512_reduce_add_epi64(sum));
  return at;
}
uint64_t int8_avx512(uint64_t rounds, uint64_t& sink) {
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi8(static_cast<char>(sink & 127)), b = _mm512_set1_epi8(3);
  for (uint64_t r = 0; r < rounds * kBlock; ++r)
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
  for (const __m512i sum : sums) sink += static_cast<uint64_t>(_mm512_reduce_add_epi64(sum));
  return rounds * kBlock * kChains * 64;
}
uint64_t float_avx512(uint64_t rounds, uint64_t& sink) {
  __m512 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.5f + static_cast<float>(sink & 1)), b = _mm512_set1_ps(0.25f);
  for (uint64_t r = 0; r < rounds * kBlock; ++r)
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, a, b);
  for (const __m512 sum : sums) sink += static_cast<uint64_t>(_mm512_cvtss_f32(sum) != 0);
  return rounds * kBlock * kChains * 16;
}
ALTLAS_COMPILE_FOR_END

ALTLAS_COMPILE_FOR(ALTLAS_AVX512_VNNI ",avx512bf16")
uint64_t bf16_avx512(uint64_t rounds, uint64_t& sink) {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const auto a = reinterpret_cast<__m512bh>(_mm512_set1_epi16(static_cast<int16_t>(sink & 127))),
             b = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f80));
  for (uint64_t r = 0; r < rounds * kBlock; ++r)
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, a, b);
  for (const __m512 sum : sums) sink += static_cast<uint64_t>(_mm512_cvtss_f32(sum) != 0);
  return rounds * kBlock * kChains * 32;
}
ALTLAS_COMPILE_FOR_END
#elif defined(__aarch64__)
uint64_t read_neon(std::span<const std::byte> memory, uint64_t& sink) {
  uint64x2_t sums[8];
  for (uint64x2_t& sum : sums) sum = vdupq_n_u64(0);
  size_t at = 0;
  for (; at + 128 <= memory.size(); at += 128) {
    const auto* lines = reinterpret_cast<const uint64_t*>(memory.data() + at);
    __builtin_prefetch(memory.data() + at + kAhead, 0, 3);
    __builtin_prefetch(memory.data() + at + kAhead + 64, 0, 3);
    for (int i = 0; i < 8; ++i) sums[i] = vaddq_u64(sums[i], vld1q_u64(lines + 2 * i));
  }
  for (const uint64x2_t sum : sums) sink += vaddvq_u64(sum);
  return at;
}
// The best case without a dot-product instruction: 16-bit sums of many products.
uint64_t int8_neon(uint64_t rounds, uint64_t& sink) {
  int16x8_t sums[kChains];
  for (int16x8_t& sum : sums) sum = vdupq_n_s16(0);
  int8x8_t a = vdup_n_s8(static_cast<int8_t>(sink & 63));
  const int8x8_t b = vdup_n_s8(1);
  for (uint64_t r = 0; r < rounds * kBlock; ++r) {
    for (int16x8_t& sum : sums) {
      asm volatile("" : "+w"(a));  // Without this, one product would serve all chains.
      sum = vmlal_s8(sum, a, b);
    }
  }
  for (const int16x8_t sum : sums) sink += static_cast<uint16_t>(vaddvq_s16(sum));
  return rounds * kBlock * kChains * 8;
}
ALTLAS_COMPILE_FOR("+dotprod")
uint64_t int8_dotprod(uint64_t rounds, uint64_t& sink) {
  int32x4_t sums[kChains];
  for (int32x4_t& sum : sums) sum = vdupq_n_s32(0);
  int8x16_t a = vdupq_n_s8(static_cast<int8_t>(sink & 127));
  const int8x16_t b = vdupq_n_s8(3);
  for (uint64_t r = 0; r < rounds * kBlock; ++r) {
    for (int32x4_t& sum : sums) {
      asm volatile("" : "+w"(a));
      sum = vdotq_s32(sum, a, b);
    }
  }
  for (const int32x4_t sum : sums) sink += static_cast<uint32_t>(vaddvq_s32(sum));
  return rounds * kBlock * kChains * 16;
}
ALTLAS_COMPILE_FOR_END
uint64_t float_neon(uint64_t rounds, uint64_t& sink) {
  float32x4_t sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = vdupq_n_f32(static_cast<float>(i));
  const float32x4_t a = vdupq_n_f32(0.5f + static_cast<float>(sink & 1)), b = vdupq_n_f32(0.25f);
  for (uint64_t r = 0; r < rounds * kBlock; ++r)
    for (float32x4_t& sum : sums) sum = vfmaq_f32(b, sum, a);
  for (const float32x4_t sum : sums) sink += static_cast<uint64_t>(vgetq_lane_f32(sum, 0) != 0);
  return rounds * kBlock * kChains * 4;
}
#endif

struct Roofs {
  uint64_t (*read)(std::span<const std::byte> memory, uint64_t& sink);
  uint64_t (*int8)(uint64_t rounds, uint64_t& sink);
  uint64_t (*floats)(uint64_t rounds, uint64_t& sink);
};

Roofs roofs() {
  switch (simd_target()) {
#if defined(__x86_64__)
    case SimdTarget::kAvx512Vnni:
    case SimdTarget::kAvx512Bf16:
    case SimdTarget::kAmx:
    case SimdTarget::kAmxBf16:
      return {read_avx512, int8_avx512, float_avx512};
    case SimdTarget::kAvxVnni:
      return {read_avx2, int8_avx_vnni, float_avx2};
    case SimdTarget::kAvx2:
      return {read_avx2, int8_avx2, float_avx2};
#elif defined(__aarch64__)
    case SimdTarget::kNeonDotprod:
      return {read_neon, int8_dotprod, float_neon};
    case SimdTarget::kNeon:
      return {read_neon, int8_neon, float_neon};
#endif
    default:
      return {read_plain, int8_plain, float_plain};
  }
}

}  // namespace

uint64_t roof_read(std::span<const std::byte> memory, uint64_t& sink) {
  return roofs().read(memory, sink);
}
uint64_t roof_int8(uint64_t rounds, uint64_t& sink) { return roofs().int8(rounds, sink); }
uint64_t roof_float(uint64_t rounds, uint64_t& sink) { return roofs().floats(rounds, sink); }
uint64_t roof_bf16(uint64_t rounds, uint64_t& sink) {
#if defined(__x86_64__)
  if (simd_supported(SimdTarget::kAvx512Bf16)) return bf16_avx512(rounds, sink);
#endif
  static_cast<void>(rounds);
  static_cast<void>(sink);
  return 0;
}

}  // namespace altlas::ops
