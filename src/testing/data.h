// Seeded data and float comparisons for tests and benches.
#pragma once

#include <cstdint>
#include <gtest/gtest.h>

#include <span>
#include <vector>

namespace altlas::testing {

// `count` draws of the standard normal distribution.
std::vector<float> normals(size_t count, uint64_t seed);
// `count` random bytes.
std::vector<uint8_t> bytes(size_t count, uint64_t seed);
// Every |got - want| ≤ rel * max(1e-6, |want|, largest |want| * 1e-3); names the first that is not.
::testing::AssertionResult near_all(std::span<const float> got, std::span<const float> want,
                                    float rel);
// Bit for bit equal; names the first index that is not.
::testing::AssertionResult same_bits(std::span<const float> got, std::span<const float> want);

}  // namespace altlas::testing
