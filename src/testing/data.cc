#include "testing/data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/philox.h"

namespace altlas::testing {

std::vector<float> normals(size_t count, uint64_t seed) {
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) {
    const auto words = philox(seed, i);
    const double u = (words[0] + 1.0) * 0x1p-32, v = words[1] * 0x1p-32;  // Box-Muller.
    out[i] = static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
  }
  return out;
}

std::vector<uint8_t> bytes(size_t count, uint64_t seed) {
  std::vector<uint8_t> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>(philox(seed, i / 4)[i % 4]);
  return out;
}

::testing::AssertionResult near_all(std::span<const float> got, std::span<const float> want,
                                    float rel) {
  if (got.size() != want.size())
    return ::testing::AssertionFailure() << got.size() << " values, want " << want.size();
  float largest = 0;
  for (const float w : want) largest = std::max(largest, std::fabs(w));
  for (size_t i = 0; i < got.size(); ++i) {
    const float scale = std::max({1e-6f, std::fabs(want[i]), largest * 1e-3f});
    if (!(std::fabs(got[i] - want[i]) <= rel * scale))
      return ::testing::AssertionFailure() << "[" << i << "] is " << got[i] << ", want " << want[i];
  }
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult same_bits(std::span<const float> got, std::span<const float> want) {
  if (got.size() != want.size())
    return ::testing::AssertionFailure() << got.size() << " values, want " << want.size();
  for (size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &want[i], sizeof(float)) != 0)
      return ::testing::AssertionFailure() << "[" << i << "] is " << got[i] << ", want " << want[i];
  return ::testing::AssertionSuccess();
}

}  // namespace altlas::testing
