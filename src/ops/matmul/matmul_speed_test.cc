// Goal: a kernel that becomes slow is noticed although times are noisy. Method: each product is
// timed against the readable reference in the same run, as the least of many turns of both; noise
// only ever adds time. The bounds are 65 % of what a Zen 5 reached, idle and busy alike, and hold
// there; other CPUs have other ratios (a Zen 4 goes down to 0.76 of a bound) and must reach a third
// of them.
#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <chrono>
#include <cstdlib>
#include <limits>
#include <memory>
#include <vector>

#include "ops/matmul/kernels.h"
#include "ops/quantize/quantize.h"
#include "ops/simd.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

// Only in this build are both compiled for speed.
#if defined(__x86_64__) && defined(ALTLAS_RELEASE)

// The share of a recorded bound that this CPU must reach: all of it on chips like the record's,
// AMD's family 1Ah.
double share_of_record() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(0, &eax, &ebx, &ecx, &edx);
  const bool amd = ebx == signature_AMD_ebx;
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  const unsigned family = ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff);
  return amd && family == 0x1a ? 1.0 : 1.0 / 3;
}

constexpr size_t kRows = 64, kCols = 1024;

struct Aligned {
  explicit Aligned(size_t size) : data(std::aligned_alloc(64, (size + 63) / 64 * 64), std::free) {}
  std::byte* at() const { return static_cast<std::byte*>(data.get()); }
  std::unique_ptr<void, void (*)(void*)> data;
};

// One packed random matrix and `tokens` inputs.
struct Product {
  Product(DType type, size_t tokens)
      : packed(packed_bytes(type, kRows, kCols)),
        quantized(quantized_bytes(tokens, kCols)),
        scratch(matmul_scratch_bytes(type)),
        values(testing::normals(tokens * kCols, 2)),
        y(tokens * kRows),
        weights{type, kRows, kCols, packed.at()},
        x{.tokens = tokens, .quantized = quantized.at(), .values = values.data(), .stride = kCols} {
    std::vector<uint8_t> raw = testing::bytes(kRows * row_bytes(type, kCols), 1);
    for (uint8_t& byte : raw) byte &= 0x3b;  // It keeps the scales finite.
    pack_panels({type, kRows, kCols, reinterpret_cast<const std::byte*>(raw.data())},
                {0, panel_count(kRows)}, packed.at());
    quantize_rows({values.data(), tokens, kCols}, kCols, {0, tokens}, quantized.at());
  }
  double seconds(MatmulKernel kernel) {
    const auto from = std::chrono::steady_clock::now();
    kernel(weights, x, {0, panel_count(kRows)}, {y.data(), x.tokens, kRows}, scratch.at());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  }

  Aligned packed, quantized, scratch;
  std::vector<float> values, y;
  PackedMatrix weights;
  Activations x;
};

// Returns how many times as fast as the reference the kernel is. Turns of both alternate, and the
// least time of each counts. Below `enough` it goes on for some rounds, as other processes may
// disturb a whole one; no number of rounds makes a kernel faster than it is.
double ratio(MatmulKernel kernel, DType type, size_t tokens, double enough) {
  constexpr int kRounds = 6, kTurns = 20;
  Product product(type, tokens);
  double reference = std::numeric_limits<double>::infinity(), own = reference;
  for (int round = 0; round < kRounds && !(reference / own >= enough); ++round)
    for (int turn = 0; turn < kTurns; ++turn) {
      reference = std::min(reference, product.seconds(matmul_kernel_scalar()));
      for (int i = 0; i < 10; ++i) own = std::min(own, product.seconds(kernel));
    }
  return reference / own;
}

struct Bound {
  DType type;
  size_t tokens;
  double avx2, avx_vnni, avx512;
};
constexpr Bound kBounds[] = {{DType::kQ5_0, 1, 49, 61, 124},  {DType::kQ8_0, 1, 52, 90, 113},
                             {DType::kQ4_K, 1, 59, 67, 101},  {DType::kQ6_K, 1, 44, 52, 96},
                             {DType::kQ5_0, 16, 45, 72, 147}, {DType::kQ8_0, 16, 35, 80, 139},
                             {DType::kQ4_K, 16, 50, 66, 137}, {DType::kQ6_K, 16, 40, 65, 127},
                             {DType::kQ5_0, 96, 54, 80, 159}, {DType::kQ8_0, 96, 33, 81, 157},
                             {DType::kQ4_K, 96, 64, 75, 145}, {DType::kQ6_K, 96, 48, 73, 136}};

struct RarerBound {
  DType type;
  size_t tokens;
  double ratio;
};
constexpr RarerBound kRarerBounds[] = {
    {DType::kQ4_0, 1, 132},  {DType::kQ4_1, 1, 136},  {DType::kQ5_1, 1, 101},
    {DType::kQ2_K, 1, 94},   {DType::kQ3_K, 1, 72},   {DType::kQ5_K, 1, 59},
    {DType::kQ4_0, 16, 145}, {DType::kQ4_1, 16, 182}, {DType::kQ5_1, 16, 162},
    {DType::kQ2_K, 16, 114}, {DType::kQ3_K, 16, 132}, {DType::kQ5_K, 16, 130},
    {DType::kQ4_0, 96, 150}, {DType::kQ4_1, 96, 142}, {DType::kQ5_1, 96, 142},
    {DType::kQ2_K, 96, 119}, {DType::kQ3_K, 96, 139}, {DType::kQ5_K, 96, 142}};

struct Bf16Bound {
  size_t tokens;
  double ratio;
};
constexpr Bf16Bound kBf16Bounds[] = {{1, 150}, {8, 430}, {16, 600}, {96, 560}};

TEST(MatmulSpeed, Bf16StaysAheadOfTheReference) {
  if (!simd_supported(SimdTarget::kAvx512Bf16)) GTEST_SKIP() << "this CPU has no AVX-512 BF16";
  for (const Bf16Bound& bound : kBf16Bounds) {
    const double least = bound.ratio * share_of_record();
    EXPECT_GE(ratio(matmul_kernel_bf16(), DType::kBF16, bound.tokens, least), least)
        << bound.tokens << " tokens";
  }
}

TEST(MatmulSpeed, KernelsStayAheadOfTheReference) {
  if (!simd_supported(SimdTarget::kAvx2)) GTEST_SKIP() << "this CPU has no AVX2";
  const bool vnni = simd_supported(SimdTarget::kAvxVnni),
             wide = simd_supported(SimdTarget::kAvx512Vnni);
  const auto expect = [](MatmulKernel kernel, const Bound& bound, double record) {
    const double least = record * share_of_record();
    EXPECT_GE(ratio(kernel, bound.type, bound.tokens, least), least);
  };
  for (const Bound& bound : kBounds) {
    SCOPED_TRACE(std::string(dtype_info(bound.type).name) + ", " + std::to_string(bound.tokens) +
                 " tokens");
    expect(matmul_kernel_avx2(), bound, bound.avx2);
    if (vnni) expect(matmul_kernel_avx_vnni(), bound, bound.avx_vnni);
    if (wide) expect(matmul_kernel_avx512(), bound, bound.avx512);
  }
}

// Goal: formats that fewer files have do not become slow either. Method: as above, on the best
// target.
TEST(MatmulSpeed, RarerFormatsStayAheadOfTheReference) {
  if (!simd_supported(SimdTarget::kAvx512Vnni)) GTEST_SKIP() << "this CPU has no AVX-512 VNNI";
  for (const RarerBound& bound : kRarerBounds) {
    const double least = bound.ratio * share_of_record();
    EXPECT_GE(ratio(matmul_kernel_avx512(), bound.type, bound.tokens, least), least)
        << dtype_info(bound.type).name << ", " << bound.tokens << " tokens";
  }
}

// Goal: the bounds can fail. Method: the reference is timed against itself.
TEST(MatmulSpeed, TheReferenceIsNotAheadOfItself) {
  EXPECT_LT(ratio(matmul_kernel_scalar(), DType::kQ8_0, 1, 10), 10);
}

#endif

}  // namespace
}  // namespace altlas::ops
