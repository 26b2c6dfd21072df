#include "ops/dequantize/dequantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tensor/half.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

struct Case {
  DType type;
  std::vector<std::byte> blocks;
  std::vector<float> values;
};

std::vector<Case> read_fixture() {
  std::ifstream file(ALTLAS_SOURCE_DIR "/src/ops/dequantize/testdata/dequantize.bin",
                     std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<Case> cases;
  for (size_t at = 0; at + 12 <= all.size();) {
    uint32_t head[3];
    std::memcpy(head, all.data() + at, sizeof head);
    at += sizeof head;
    Case& one = cases.emplace_back(Case{
        static_cast<DType>(head[0]), std::vector<std::byte>(head[2]), std::vector<float>(head[1])});
    std::memcpy(one.blocks.data(), all.data() + at, head[2]);
    std::memcpy(one.values.data(), all.data() + at + head[2], head[1] * sizeof(float));
    at += head[2] + head[1] * sizeof(float);
  }
  return cases;
}

// Goal: the same bits as the `gguf` package for random blocks with zero, subnormal, largest and
// infinite scales. Method: the fixture of make_fixture.py; any NaN equals any NaN.
TEST(Dequantize, SameBitsAsGgufPackage) {
  const std::vector<Case> cases = read_fixture();
  ASSERT_EQ(cases.size(), 12u);
  for (const Case& one : cases) {
    SCOPED_TRACE(std::string(dtype_info(one.type).name));
    std::vector<float> got(one.values.size());
    dequantize_row(one.type, one.blocks.data(), got.size(), got.data());
    for (size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(one.values[i]) && std::isnan(got[i])) continue;
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(one.values[i]))
          << "value " << i;
    }
  }
}

TEST(Dequantize, F32IsACopy) {
  const std::vector<float> values = testing::normals(37, 1);
  std::vector<float> got(values.size());
  dequantize_row(DType::kF32, reinterpret_cast<const std::byte*>(values.data()), got.size(),
                 got.data());
  EXPECT_TRUE(testing::same_bits(got, values));
}

// Goal: f16 and bf16 conversions are exact inverses. Method: all 65,536 patterns. Halfway points
// round to even.
TEST(Half, RoundTrips) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const float f = float_from_f16(bits), b = float_from_bf16(bits);
    if (!std::isnan(f)) {
      ASSERT_EQ(f16_from_float(f), bits);
    }
    if (!std::isnan(b)) {
      ASSERT_EQ(bf16_from_float(b), bits);
    }
  }
  EXPECT_EQ(f16_from_float(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(f16_from_float(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(f16_from_float(65519.0f), 0x7bff);
  EXPECT_EQ(f16_from_float(65520.0f), 0x7c00);
  EXPECT_EQ(f16_from_float(0x1p-25f), 0);
  EXPECT_EQ(f16_from_float(-0x1.8p-24f), 0x8002);
  EXPECT_TRUE(std::isnan(float_from_f16(f16_from_float(std::nanf("")))));
  EXPECT_EQ(bf16_from_float(1.0f + 0x1p-8f), 0x3f80);
}

}  // namespace
}  // namespace altlas::ops
