#include "ops/quantize/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "ops/elementwise/elementwise.h"
#include "ops/matmul/activation.h"
#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

constexpr size_t kRows = 5;

// Returns the records of rows [kRows, cols) by the readable definition.
std::vector<ActivationBlock> records_of(const std::vector<float>& x, size_t cols) {
  std::vector<ActivationBlock> out(kRows * activation_stride(cols));
  for (size_t r = 0; r < kRows; ++r)
    for (size_t b = 0; b < cols / 32; ++b)
      quantize_block(&x[r * cols + b * 32], out[r * activation_stride(cols) + b]);
  return out;
}

// Compares records byte by byte; what lies between rows does not count.
bool same(const std::vector<ActivationBlock>& a, const std::vector<ActivationBlock>& b,
          size_t cols) {
  for (size_t r = 0; r < kRows; ++r)
    if (std::memcmp(&a[r * activation_stride(cols)], &b[r * activation_stride(cols)],
                    activation_blocks(cols) * sizeof(ActivationBlock)) != 0)
      return false;
  return true;
}

std::vector<float> values(size_t cols) {
  auto x = testing::normals(kRows * cols, 7);
  for (size_t i = 0; i < 32; ++i) x[i] = 0;
  for (size_t i = 0; i < 32; ++i) x[cols + i] *= 1e-38f;
  x[2 * cols + 3] = std::numeric_limits<float>::infinity();
  x[3 * cols + 31] = std::numeric_limits<float>::quiet_NaN();
  // These values are half-way between two steps.
  for (size_t i = 0; i < 32; ++i) x[4 * cols + i] = 0.5f * (static_cast<float>(i) - 16);
  return x;
}

// Goal: the readable definition rounds to the nearest step, ties to even, keeps huge and tiny
// values, and shows infinities and NaN as NaN.
TEST(Quantize, DefinitionIsWithinHalfAStep) {
  std::vector<float> x = testing::normals(32 * 8, 5);
  for (size_t k = 0; k < 32; ++k) {
    x[k] = 0;
    x[32 + k] *= 1e-33f;
    x[64 + k] *= 1e36f;
    x[96 + k] *= 1e-20f;
    x[128 + k] = static_cast<float>(k) + 0.5f;
  }
  x[128] = 127.0f;
  x[160] = std::numeric_limits<float>::infinity();
  x[193] = -std::nanf("");
  x[224] = -0.0f;
  ActivationBlock got[8];
  for (size_t b = 0; b < 8; ++b) quantize_block(&x[32 * b], got[b]);
  EXPECT_EQ(got[0].scale, 0);
  EXPECT_EQ(got[1].scale, 0);
  EXPECT_EQ(got[4].quants[1], 2);  // 1.5 rounds to even.
  EXPECT_TRUE(std::isnan(got[5].scale) && std::isnan(got[6].scale));
  for (const size_t b : {2, 3, 4, 7})
    for (size_t k = 0; k < 32; ++k)
      EXPECT_NEAR(got[b].quants[k], x[32 * b + k] / got[b].scale, 0.5001) << b << " " << k;
}

// Goal: rows from the middle of strided floats go to their own records; others are left alone.
TEST(Quantize, RowsKeepTheirPlaces) {
  const size_t cols = 96, stride = cols + 5;
  const auto x = values(cols);
  std::vector<float> strided(kRows * stride, 1e30f);
  for (size_t r = 0; r < kRows; ++r) std::copy_n(&x[r * cols], cols, &strided[r * stride]);
  auto want = records_of(x, cols);
  std::vector<ActivationBlock> got(want.size());
  for (const size_t r : {0, 4})
    std::fill_n(want.begin() + static_cast<ptrdiff_t>(r * activation_stride(cols)),
                activation_stride(cols), ActivationBlock{});
  quantize_rows({strided.data(), kRows, stride}, cols, {1, 4},
                reinterpret_cast<std::byte*>(got.data()));
  EXPECT_TRUE(same(got, want, cols));
}

// Goal: every target gives the records of the readable definition, padding included, however a row
// is cut into parts; also for blocks that are zero, tiny, infinite or NaN.
TEST(Quantize, PartsAreTheReferencesRecords) {
  for (const size_t cols : {32, 64, 96, 896}) {
    const auto x = values(cols);
    const auto want = records_of(x, cols);
    for_each_target([&](const std::string& target) {
      for (const size_t width : {32, 64, 896}) {
        SCOPED_TRACE(target + " " + std::to_string(cols) + " by " + std::to_string(width));
        std::vector<ActivationBlock> got(want.size());
        std::memset(got.data(), 0xff, got.size() * sizeof(ActivationBlock));
        for (size_t c = 0; c < cols; c += width)
          quantize_part_cpu({&x[c], kRows, cols}, {.out = reinterpret_cast<std::byte*>(got.data()),
                                                   .cols = cols,
                                                   .column = c,
                                                   .width = std::min(width, cols - c)});
        EXPECT_TRUE(same(got, want, cols));
      }
    });
  }
}

// Goal: gating and quantising at once gives what gating and then quantising gives.
TEST(Quantize, GateAtOnceIsGateThenQuantise) {
  const size_t cols = 160;
  const auto gate = values(cols), up = testing::normals(kRows * cols, 8);
  for_each_target([&](const std::string& target) {
    for (const GateAct act : {GateAct::kSilu, GateAct::kGelu}) {
      SCOPED_TRACE(target);
      std::vector<float> product(gate.size());
      (act == GateAct::kSilu ? silu_mul_cpu : gelu_mul_cpu)(gate.data(), up.data(), gate.size(),
                                                            product.data());
      std::vector<ActivationBlock> got(kRows * activation_stride(cols));
      gate_quantize_cpu(act, {gate.data(), kRows, cols}, {up.data(), kRows, cols},
                        {.out = reinterpret_cast<std::byte*>(got.data()),
                         .cols = cols,
                         .column = 0,
                         .width = cols});
      EXPECT_TRUE(same(got, records_of(product, cols), cols));
    }
  });
}

}  // namespace
}  // namespace altlas::ops
