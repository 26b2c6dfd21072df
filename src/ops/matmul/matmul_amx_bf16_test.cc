#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "ops/amx.h"
#include "ops/matmul/bf16.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/test_matrix.h"
#include "ops/matmul/test_tiles.h"
#include "ops/simd.h"
#include "tensor/half.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

constexpr size_t kBatches[] = {1, 2, 15, 16, 17, 32, 33, 49, 130};
constexpr float kUntouched = -12345.0f;

struct Shape {
  size_t rows, cols;
};
// The shapes have odd columns, steps of 32 that are not whole, several chunks, ragged rows, and one
// panel alone.
constexpr Shape kShapes[] = {{16, 1}, {5, 31}, {53, 66}, {37, 513}, {20, 1100}};

std::vector<float> product(MatmulKernel kernel, Matrix& w, Input& x, size_t tokens, Range panels) {
  Bytes scratch(kBf16ScratchBytes);
  std::vector<float> y(tokens * w.view.rows, kUntouched);
  kernel(w.view, x.view(tokens), panels, {y.data(), tokens, w.view.rows}, scratch.data());
  return y;
}

// Normal values; some are so small that they become zero.
Input input(size_t tokens, size_t cols) {
  Input x(DType::kBF16, tokens, cols, 21);
  for (size_t i = 0; i < x.x.size(); i += 7) x.x[i] *= 0x1p-126f;
  return x;
}

// Computes one output as TDPBF16PS defines it (Intel 64 Manual, volume 2), 32 columns at a time:
// every multiply-add and addition rounds to nearest even, and subnormals are read and written as
// zero.
float defined_output(std::span<const float> weights, const float* x) {
  const auto flushed = EmulatedTiles::flushed;
  float y = 0;
  for (size_t begin = 0; begin < weights.size(); begin += 32) {
    float even = 0, odd = 0;
    for (size_t k = begin; k < std::min(begin + 32, weights.size()); ++k) {
      const float value = flushed(float_from_bf16(bf16_from_float(flushed(x[k]))));
      float& sum = k % 2 == 0 ? even : odd;
      sum = flushed(std::fma(value, flushed(weights[k]), sum));
    }
    y = flushed(y + flushed(even + odd));
  }
  return y;
}

// Compares every batch, whole and in a range of panels, with the definition; and with the
// reference, which is one rounding to bfloat16 away.
void expect_defined_bits(MatmulKernel kernel) {
  const size_t most = std::ranges::max(kBatches);
  for (const auto [rows, cols] : kShapes) {
    SCOPED_TRACE("rows=" + std::to_string(rows) + " cols=" + std::to_string(cols));
    const size_t panels = panel_count(rows);
    Matrix w(DType::kBF16, rows, cols, rows + cols);
    Input x = input(most, cols);
    const std::vector<float> exact = product(matmul_kernel_scalar(), w, x, most, {0, panels});
    std::vector<float> want(most * rows), weights(cols);
    for (size_t r = 0; r < rows; ++r) {
      unpack_row(w.view, r, weights.data());
      for (size_t t = 0; t < most; ++t) {
        const float* values = x.x.data() + t * x.stride;
        want[t * rows + r] = defined_output(weights, values);
        double magnitude = 0;
        for (size_t k = 0; k < cols; ++k) magnitude += std::abs(double{weights[k]} * values[k]);
        ASSERT_NEAR(want[t * rows + r], exact[t * rows + r], 0x1p-8 * magnitude + 1e-37);
      }
    }
    for (const size_t tokens : kBatches) {
      SCOPED_TRACE("tokens=" + std::to_string(tokens));
      std::vector<float> y = product(kernel, w, x, tokens, {0, panels});
      ASSERT_TRUE(testing::same_bits(y, std::span(want).first(tokens * rows)));
      y = product(kernel, w, x, tokens, {panels / 2, panels});
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_EQ(y[i], i % rows < panels / 2 * kPanelRows ? kUntouched : want[i]) << "index " << i;
    }
  }
}

// Expects a NaN and an infinity in their own token's outputs alone, with padded tiles too.
void expect_nan_in_its_token(MatmulKernel kernel) {
  for (const size_t tokens : {size_t{3}, size_t{30}}) {
    Matrix w(DType::kBF16, 16, 75, 4);
    Input x(DType::kBF16, tokens, 75, 2);
    x.x[x.stride + 74] = std::nanf("");
    x.x[2 * x.stride + 7] = std::numeric_limits<float>::infinity();
    const std::vector<float> y = product(kernel, w, x, tokens, {0, 1});
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / 16 == 1) << i;
      EXPECT_EQ(std::isinf(y[i]), i / 16 == 2) << i;
    }
  }
}

// Goal: the kernel of bfloat16 tiles is right on machines without them: what it configures, loads,
// multiplies and adds, for every batch. Method: its code over emulated tiles that fault and round
// as the CPU does, compared with the definition of its arithmetic and with the reference.
TEST(MatmulAmxBf16, EmulatedTilesGiveTheDefinedBits) {
  expect_defined_bits(matmul_kernel_emulated_amx_bf16());
  expect_nan_in_its_token(matmul_kernel_emulated_amx_bf16());
}

TEST(MatmulAmxBf16, EmulatedTilesWithAvx512GiveTheDefinedBits) {
#if defined(__x86_64__)
  if (!simd_supported(SimdTarget::kAvx512Bf16)) GTEST_SKIP() << "this CPU has no AVX-512 BF16";
  expect_defined_bits(matmul_kernel_emulated_amx_bf16_avx512());
  expect_nan_in_its_token(matmul_kernel_emulated_amx_bf16_avx512());
#else
  GTEST_SKIP() << "this is no x86-64 machine";
#endif
}

// Goal: the emulation's own arithmetic is the instruction's. Method: values by hand show that the
// two chains of a pair are apart, that each addition rounds once, and that subnormals vanish before
// and after.
TEST(MatmulAmxBf16, EmulatedPairsAreTwoChains) {
  TileConfig config{};
  config.rows[0] = config.rows[4] = 1;
  config.rows[6] = 2;
  config.row_bytes[0] = config.row_bytes[6] = 4;
  config.row_bytes[4] = 8;
  struct Case {
    float a[4], b[4], start, want;
  };
  const float tiny = 0x1p-127f;  // It is subnormal, and a bfloat16.
  const Case cases[] = {{{1, 2, 3, 4}, {5, 6, 7, 8}, 100, 170},
                        // 2^24 + 1 is no float: the 1 is lost in a single chain, and kept if the
                        // ones have a chain of their own.
                        {{0x1p12f, 1, 0, 1}, {0x1p12f, 1, 0, 1}, 0, 0x1p24f + 2},
                        {{0x1p24f, 1, 1, 0}, {1, 0, 1, 0}, 0, 0x1p24f},
                        {{tiny, 1, 0, 0}, {0x1p100f, 2, 0, 0}, 0, 2},
                        {{1, 0, 0, 0}, {tiny, 0, 0, 0}, tiny, 0},
                        {{0x1p-70f, 0, 0, 0}, {0x1p-60f, 0, 0, 0}, 0, 0},
                        {{1, 0, 0, 0}, {0x1p-126f, 0, 0, 0}, -0x1.8p-126f, -0.0f}};
  for (const Case& of : cases) {
    uint16_t a[4], b[4];
    for (int i = 0; i < 4; ++i) {
      a[i] = bf16_from_float(of.a[i]);
      b[i] = bf16_from_float(of.b[i]);
    }
    float sum = of.start;
    EmulatedTiles::configure(config);
    EmulatedTiles::load<0>(&sum, 4);
    EmulatedTiles::load<4>(a, 8);
    EmulatedTiles::load<6>(b, 4);
    EmulatedTiles::dot_bf16<0, 4, 6>();
    EmulatedTiles::store<0>(&sum, 4);
    EmulatedTiles::release();
    EXPECT_TRUE(testing::same_bits(std::span(&sum, 1), std::span(&of.want, 1)))
        << sum << " instead of " << of.want;
  }
}

// Goal: all tokens run on tiles. Method: the multiply-adds that the emulation counts are those of
// whole tiles of 16 tokens, rows and 32 columns.
TEST(MatmulAmxBf16, AllTokensRunOnTiles) {
  Matrix w(DType::kBF16, 40, 515, 5);
  Input x(DType::kBF16, 50, 515, 6);
  for (const size_t tokens : {1, 16, 50}) {
    EmulatedTiles::state().products = 0;
    product(matmul_kernel_emulated_amx_bf16(), w, x, tokens, {0, 3});
    EXPECT_EQ(EmulatedTiles::state().products, (tokens + 15) / 16 * 16 * 48 * 544);
    EXPECT_FALSE(EmulatedTiles::state().configured) << "tiles are given back";
  }
}

// Goal: the instructions do what their emulation does, and weights of other types keep the
// reference's bits. Method: the same tests on the CPU's own tiles.
TEST(MatmulAmxBf16, RealTilesGiveTheDefinedBits) {
  if (!simd_supported(SimdTarget::kAmxBf16)) GTEST_SKIP() << amx_bf16_missing();
#if defined(__x86_64__)
  ASSERT_TRUE(amx_request().ok());
  expect_defined_bits(matmul_kernel_amx_bf16());
  expect_nan_in_its_token(matmul_kernel_amx_bf16());
  for (const DType type : {DType::kF32, DType::kF16, DType::kQ4_K}) {
    Matrix w(type, 20, 256, 1);
    Input x(type, 40, 256, 2);
    EXPECT_TRUE(testing::same_bits(product(matmul_kernel_amx_bf16(), w, x, 40, {0, 2}),
                                   product(matmul_kernel_scalar(), w, x, 40, {0, 2})))
        << name_of(type);
  }
#endif
}

// Goal: a refusal says why. Method: where tiles are missing, choosing them names what is.
TEST(MatmulAmxBf16, RefusalSaysWhatIsMissing) {
  if (amx_bf16_missing().empty()) GTEST_SKIP() << "this machine has AMX-BF16";
  const Result<void> set = set_simd_target(SimdTarget::kAmxBf16);
  ASSERT_FALSE(set.ok());
  EXPECT_NE(set.error().message().find(amx_bf16_missing()), std::string::npos)
      << set.error().message();
}

}  // namespace
}  // namespace altlas::ops
