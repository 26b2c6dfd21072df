#include "ops/elementwise/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "ops/math/scalar.h"
#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

// Goal: gates are near the library's in double, the same bits on every target and for any cut of
// the range.
TEST(Elementwise, GatesMatchReference) {
  struct Case {
    void (*cpu)(const float*, const float*, size_t, float*);
    void (*ref)(const float*, const float*, size_t, float*);
  };
  for (const Case& gate_case : {Case{silu_mul_cpu, silu_mul_ref}, Case{gelu_mul_cpu, gelu_mul_ref}})
    for (const size_t count : {1, 15, 16, 100, 4864}) {
      auto gate = testing::normals(count, 1);
      for (float& g : gate) g *= 6;  // The values reach far into both tails.
      const auto up = testing::normals(count, 2);
      std::vector<float> want(count), first;
      gate_case.ref(gate.data(), up.data(), count, want.data());
      for_each_target([&](const std::string& target) {
        SCOPED_TRACE(target + " count=" + std::to_string(count));
        std::vector<float> got(count), cut(count);
        gate_case.cpu(gate.data(), up.data(), count, got.data());
        EXPECT_TRUE(testing::near_all(got, want, 1e-4f));
        if (first.empty()) first = got;
        EXPECT_TRUE(testing::same_bits(got, first));
        const size_t at = count / 3;
        gate_case.cpu(gate.data(), up.data(), at, cut.data());
        gate_case.cpu(gate.data() + at, up.data() + at, count - at, cut.data() + at);
        EXPECT_TRUE(testing::same_bits(cut, first));
      });
    }
}

TEST(Elementwise, SoftcapAddScale) {
  for_each_target([&](const std::string& target) {
    SCOPED_TRACE(target);
    auto x = testing::normals(77, 3);
    for (float& v : x) v *= 40;
    auto want = x, got = x;
    softcap_ref(30, want.size(), want.data());
    softcap_cpu(30, got.size(), got.data());
    EXPECT_TRUE(testing::near_all(got, want, 1e-4f));
    want = got = x;
    for (float& v : want) v *= 0.1f;
    got = want;
    gelu_erf_ref(want.size(), want.data());
    gelu_erf_cpu(got.size(), got.data());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6) << i;
    got = x;
    add_cpu(x.data(), x.size(), got.data());
    scale_cpu(0.5f, got.size(), got.data());
    EXPECT_TRUE(testing::same_bits(got, x));
    const auto y = testing::normals(77, 4);
    got = y;
    add_scaled_cpu(x.data(), 0.3f, got.size(), got.data());
    for (size_t i = 0; i < want.size(); ++i) want[i] = std::fma(0.3f, x[i], y[i]);
    EXPECT_TRUE(testing::same_bits(got, want));
  });
}

// Goal: one value that is not finite is seen wherever it stands, and large or tiny finite ones are
// not taken for one, on every target.
TEST(Elementwise, AllFinite) {
  const float largest = std::numeric_limits<float>::max();
  for_each_target([&](const std::string& target) {
    for (const size_t count : {1, 2, 15, 16, 33, 77}) {
      SCOPED_TRACE(target + " count=" + std::to_string(count));
      auto x = testing::normals(count, 5);
      x[count / 2] = count % 2 == 0 ? -largest : std::numeric_limits<float>::denorm_min();
      EXPECT_TRUE(all_finite_ref(x.data(), count));
      EXPECT_TRUE(all_finite_cpu(x.data(), count));
      for (const float bad : {INFINITY, -INFINITY, NAN, -NAN})
        for (size_t i = 0; i < count; ++i) {
          auto y = x;
          y[i] = bad;
          EXPECT_FALSE(all_finite_ref(y.data(), count)) << i;
          EXPECT_FALSE(all_finite_cpu(y.data(), count)) << i;
          EXPECT_EQ(all_finite_cpu(y.data(), i), true) << i;
        }
    }
    EXPECT_TRUE(all_finite_cpu(nullptr, 0));
  });
}

// Goal: our own exponential and logarithm are as exact as their headers say. Method: the library in
// double, over their range.
TEST(Math, ExpAndLog) {
  for (double x = -87.2; x < 88.2; x += 0.00371) {
    const auto f = static_cast<float>(x);
    EXPECT_NEAR(exp_f32(f) / std::exp(static_cast<double>(f)), 1, 3e-7) << x;
  }
  EXPECT_EQ(exp_f32(0), 1.0f);
  EXPECT_EQ(exp_f32(-100), 0.0f);
  EXPECT_EQ(exp_f32(-INFINITY), 0.0f);
  for (double x = 1e-30; x < 1e30; x *= 1.37) EXPECT_NEAR(log_f64(x), std::log(x), 1e-11) << x;
  EXPECT_EQ(log_f64(1), 0);
}

// Goal: half precision rounds to nearest even. Method: every half value, the midpoints between
// neighbours, and beyond.
TEST(Math, HalfRounding) {
  // Returns the value of a finite, positive half.
  const auto value = [](uint32_t bits) {
    return bits < 0x400 ? std::ldexp(static_cast<float>(bits), -24)
                        : std::ldexp(static_cast<float>(0x400 | (bits & 0x3ff)),
                                     static_cast<int>(bits >> 10) - 25);
  };
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = value(bits), high = value(bits + 1), middle = (low + high) / 2;
    ASSERT_EQ(f16_from_f32(low), bits);
    ASSERT_EQ(f16_from_f32(-low), bits | 0x8000);
    ASSERT_EQ(f16_from_f32(middle), bits + (bits & 1)) << bits;
    ASSERT_EQ(f16_from_f32(std::nextafter(middle, high)), bits + 1);
  }
  EXPECT_EQ(f16_from_f32(1e9f), 0x7bff);
  EXPECT_EQ(f16_from_f32(-INFINITY), 0xfbff);
  EXPECT_EQ(f16_from_f32(NAN) & 0x7e00, 0x7e00);
  EXPECT_EQ(bf16_from_f32(1.0f), 0x3f80);
}

}  // namespace
}  // namespace altlas::ops
