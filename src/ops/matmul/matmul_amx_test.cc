#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "ops/amx.h"
#include "ops/matmul/activation.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/test_matrix.h"
#include "ops/matmul/test_tiles.h"
#include "ops/quantize/quantize.h"
#include "ops/simd.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

constexpr size_t kBatches[] = {1, 15, 16, 17, 31, 32, 50, 270};
constexpr float kUntouched = -12345.0f;

std::vector<float> product(MatmulKernel kernel, Matrix& w, Input& x, size_t tokens, Range panels) {
  Bytes scratch(matmul_scratch_bytes(w.view.type));
  std::vector<float> y(tokens * w.view.rows, kUntouched);
  kernel(w.view, x.view(tokens), panels, {y.data(), tokens, w.view.rows}, scratch.data());
  return y;
}

// Compares every batch, whole and in a range of panels, with the reference.
void expect_reference_bits(MatmulKernel kernel, DType type, size_t rows, size_t cols) {
  SCOPED_TRACE(name_of(type) + " rows=" + std::to_string(rows) + " cols=" + std::to_string(cols));
  const size_t most = std::ranges::max(kBatches), panels = panel_count(rows);
  Matrix w(type, rows, cols, rows + cols);
  Input x(type, most, cols, 21);
  const std::vector<float> want = product(matmul_kernel_scalar(), w, x, most, {0, panels});
  for (const size_t tokens : kBatches) {
    SCOPED_TRACE("tokens=" + std::to_string(tokens));
    std::vector<float> y = product(kernel, w, x, tokens, {0, panels});
    ASSERT_TRUE(testing::same_bits(y, std::span(want).first(tokens * rows)));
    y = product(kernel, w, x, tokens, {panels / 2, panels});
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_EQ(y[i], i % rows < panels / 2 * kPanelRows ? kUntouched : want[i]) << "index " << i;
  }
}

// Compares all formats, with padding blocks, ragged rows and several chunks.
void expect_reference_bits(MatmulKernel kernel) {
  for (const DType type : kQuantized) {
    expect_reference_bits(kernel, type, 16, dtype_info(type).block_values);
    expect_reference_bits(kernel, type, 37, 1280);
  }
  expect_reference_bits(kernel, DType::kQ5_0, 20, 2080);
  expect_reference_bits(kernel, DType::kF16, 20, 33);
}

// Compares codes and quants at their extremes, for Q8_0 also at -128.
void expect_exact_extremes(MatmulKernel kernel) {
  for (const DType type : kQuantized) {
    for (const uint8_t fill : {0x00, 0x80, 0x7f, 0xff}) {
      SCOPED_TRACE(name_of(type) + " fill=" + std::to_string(fill));
      const size_t cols = 512, tokens = 17;
      std::vector<std::byte> raw(16 * row_bytes(type, cols), std::byte{fill});
      for (size_t b = 0; b < raw.size(); b += dtype_info(type).block_bytes) {
        for (const size_t at : half_fields(type)) std::memcpy(raw.data() + b + at, "\x00\x3c", 2);
      }
      Matrix w(type, 16, cols, raw);
      Input x(type, tokens, cols, 1);
      for (size_t i = 0; i < x.x.size(); ++i)
        x.x[i] = i / x.stride % 2 != 0 && i % 3 == 0 ? -1.0f : 1.0f;
      quantize_rows({x.x.data(), tokens, x.stride}, cols, {0, tokens}, x.quantized.data());
      EXPECT_TRUE(testing::same_bits(product(kernel, w, x, tokens, {0, 1}),
                                     product(matmul_kernel_scalar(), w, x, tokens, {0, 1})));
    }
  }
}

// Goal: the loop structure that all targets share is right by itself. Method: plain loops inside
// it, compared with the reference, on every machine.
TEST(MatmulPlain, GivesTheReferenceBits) { expect_reference_bits(matmul_kernel_plain()); }

// Goal: the tile kernel is right on machines without AMX: what it configures, loads, multiplies and
// adds. Method: its code over emulated tiles that fault as the CPU does, against the reference.
TEST(MatmulAmx, EmulatedTilesGiveTheReferenceBits) {
  expect_reference_bits(matmul_kernel_emulated_amx());
  expect_exact_extremes(matmul_kernel_emulated_amx());
}

TEST(MatmulAmx, EmulatedTilesWithAvx512GiveTheReferenceBits) {
#if defined(__x86_64__)
  if (!simd_supported(SimdTarget::kAvx512Vnni)) GTEST_SKIP() << "this CPU has no AVX-512 VNNI";
  expect_reference_bits(matmul_kernel_emulated_amx_avx512());
  expect_exact_extremes(matmul_kernel_emulated_amx_avx512());
#else
  GTEST_SKIP() << "this is no x86-64 machine";
#endif
}

// Goal: many tokens do run on tiles. Method: the multiply-adds that the emulation counts are those
// of whole tiles of 16 tokens, the last one overlapping.
TEST(MatmulAmx, ManyTokensRunOnTiles) {
  for (const DType type : {DType::kQ4_K, DType::kQ6_K}) {
    Matrix w(type, 40, 512, 5);
    Input x(type, 50, 512, 6);
    for (const size_t tokens : {15, 16, 50}) {
      EmulatedTiles::state().products = 0;
      product(matmul_kernel_emulated_amx(), w, x, tokens, {0, 3});
      EXPECT_EQ(EmulatedTiles::state().products,
                tokens < 16 ? 0 : (tokens + 15) / 16 * 16 * 48 * 512)
          << name_of(type);
      EXPECT_FALSE(EmulatedTiles::state().configured) << "tiles are given back";
    }
  }
}

// Goal: the instructions do what their emulation does. Method: the same test on the CPU's own
// tiles.
TEST(MatmulAmx, RealTilesGiveTheReferenceBits) {
  if (!simd_supported(SimdTarget::kAmx)) GTEST_SKIP() << amx_missing();
#if defined(__x86_64__)
  ASSERT_TRUE(amx_request().ok());
  expect_reference_bits(matmul_kernel_amx());
  expect_exact_extremes(matmul_kernel_amx());
#endif
}

// Goal: a refusal says why. Method: where tiles are missing, choosing them names what is.
TEST(MatmulAmx, RefusalSaysWhatIsMissing) {
  if (amx_missing().empty()) GTEST_SKIP() << "this machine has AMX";
  const Result<void> set = set_simd_target(SimdTarget::kAmx);
  ASSERT_FALSE(set.ok());
  EXPECT_NE(set.error().message().find(amx_missing()), std::string::npos) << set.error().message();
}

}  // namespace
}  // namespace altlas::ops
