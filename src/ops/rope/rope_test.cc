#include "ops/rope/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

// Goal: angles are right at far positions too. Method: the C library in double.
TEST(Rope, AnglesMatchLibrary) {
  const std::vector<uint32_t> positions = {0, 1, 17, 4095, 131071, 1000000};
  std::vector<double> frequency;
  for (int i = 0; i < 32; ++i) frequency.push_back(std::pow(1e6, -i / 32.0));
  std::vector<float> got(positions.size() * 64);
  rope_angles(positions, frequency, got.data());
  for (size_t t = 0; t < positions.size(); ++t)
    for (size_t i = 0; i < 32; ++i) {
      const double angle = positions[t] * frequency[i];
      EXPECT_NEAR(got[t * 64 + i], std::cos(angle), 1e-7) << positions[t] << " " << i;
      EXPECT_NEAR(got[t * 64 + 32 + i], std::sin(angle), 1e-7) << positions[t] << " " << i;
    }
}

// Goal: every target gives the reference's angles, bit for bit. Method: all quarters, ragged
// halves.
TEST(Rope, EveryTargetSameAngles) {
  for (const size_t half : {1, 3, 8, 21}) {
    const std::vector<uint32_t> positions = {0, 1, 2, 3, 4, 5, 6, 77, 4095, 131071};
    std::vector<double> frequency;
    for (size_t i = 0; i < half; ++i)
      frequency.push_back(std::pow(1e4, -0.1 * static_cast<double>(i)));
    std::vector<float> want(positions.size() * 2 * half);
    rope_angles_ref(positions, frequency, want.data());
    for_each_target([&](const std::string& target) {
      SCOPED_TRACE(target + " half=" + std::to_string(half));
      std::vector<float> got(want.size());
      rope_angles(positions, frequency, got.data());
      EXPECT_TRUE(testing::same_bits(got, want));
    });
  }
}

// Goal: every target gives the reference's bits, for whole and partial heads of both styles.
TEST(Rope, EveryTargetSameBits) {
  for (const auto style : {RopeStyle::kNeox, RopeStyle::kAdjacent})
    for (const size_t half : {1, 5, 8, 32, 40}) {
      const size_t head_dim = 80, heads = 3;
      const auto x = testing::normals(heads * head_dim, 5), angles = testing::normals(2 * half, 6);
      auto want = x;
      rope_ref(want.data(), {heads, head_dim, half, style}, angles.data());
      EXPECT_FALSE(testing::same_bits(want, x));
      for_each_target([&](const std::string& target) {
        SCOPED_TRACE(target + " half=" + std::to_string(half));
        auto got = x;
        rope_cpu(got.data(), {heads, head_dim, half, style}, angles.data());
        EXPECT_TRUE(testing::same_bits(got, want));
      });
    }
}

// Goal: a rotation keeps each pair's length.
TEST(Rope, KeepsLength) {
  std::vector<float> x = {3, 4}, angles(2);
  const uint32_t position[] = {7};
  const double frequency[] = {0.5};
  rope_angles(position, frequency, angles.data());
  rope_cpu(x.data(), {1, 2, 1, RopeStyle::kNeox}, angles.data());
  EXPECT_NEAR(std::hypot(x[0], x[1]), 5, 1e-6);
  EXPECT_NEAR(x[0], 3 * std::cos(3.5) - 4 * std::sin(3.5), 1e-6);
}

}  // namespace
}  // namespace altlas::ops
