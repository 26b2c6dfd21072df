#include "model/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "ops/quantize/quantize.h"
#include "testing/data.h"

namespace altlas::model {
namespace {

constexpr uint32_t kCols = 256;

// Aligned memory for products, which is freed at the end.
std::shared_ptr<std::byte> aligned(size_t bytes) {
  return {static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)), std::free};
}

struct Case {
  Linear linear{.cols = kCols, .takes_quantized = true};
  std::vector<std::shared_ptr<std::byte>> memory;

  void add(DType type, uint32_t rows) {
    std::vector<uint8_t> raw = testing::bytes(rows * row_bytes(type, kCols), rows);
    for (uint8_t& byte : raw) byte &= 0x3b;  // It keeps the scales finite.
    memory.push_back(aligned(ops::packed_bytes(type, rows, kCols)));
    ops::pack_panels({type, rows, kCols, reinterpret_cast<const std::byte*>(raw.data())},
                     {0, ops::panel_count(rows)}, memory.back().get());
    linear.parts.push_back({{type, rows, kCols, memory.back().get()}, linear.rows});
    linear.rows += rows;
  }
};

// Goal: the shares of any number of threads make up the whole product, each row once. Method: few
// tokens (shared out by bytes) and many (by rows), matrices of several types and heights.
TEST(Linear, SharesAreTheWholeProduct) {
  Case one;
  one.add(DType::kQ8_0, 112);
  one.add(DType::kQ4_0, 16);
  one.add(DType::kF32, 23);
  const auto scratch = aligned(one.linear.scratch_bytes());
  for (const size_t tokens : {1, 41}) {
    const auto x = testing::normals(tokens * kCols, 1);
    const auto quantized = aligned(ops::quantized_bytes(tokens, kCols));
    ops::quantize_rows({x.data(), tokens, kCols}, kCols, {0, tokens}, quantized.get());
    const auto product = [&](uint32_t threads) {
      std::vector<float> y(tokens * one.linear.rows, 0.0f);
      for (uint32_t i = 0; i < threads; ++i) {
        std::vector<float> share(y.size(), 0.0f);
        one.linear.multiply({tokens, quantized.get(), x.data(), kCols},
                            {share.data(), tokens, one.linear.rows}, i, threads, scratch.get());
        for (size_t at = 0; at < y.size(); ++at) {
          EXPECT_TRUE(y[at] == 0 || share[at] == 0) << "computed twice: " << at;
          y[at] += share[at];
        }
      }
      return y;
    };
    const std::vector<float> whole = product(1);
    EXPECT_EQ(std::ranges::count(whole, 0.0f), 0);
    for (const uint32_t threads : {2u, 3u, 7u, 40u})
      EXPECT_TRUE(testing::same_bits(product(threads), whole)) << threads << " threads";
  }
}

}  // namespace
}  // namespace altlas::model
