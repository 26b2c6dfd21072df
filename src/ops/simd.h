// The one switch that says which SIMD instructions the kernels of this room use.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace altlas::ops {

enum class SimdTarget : uint8_t { kScalar, kAvx2, kAvx512Vnni };

// "scalar", "avx2", "avx512_vnni".
std::string_view to_string(SimdTarget target);
// Errors: kInvalid, naming the known ones.
Result<SimdTarget> parse_simd_target(std::string_view name);
// True if this CPU and operating system can run it.
bool simd_supported(SimdTarget target);
// The best supported one until set_simd_target chose another.
SimdTarget simd_target();
// Restricts Highway's dispatch as well. Call it while no kernel runs. Errors: kUnsupported if this
// CPU lacks it.
Result<void> set_simd_target(SimdTarget target);

}  // namespace altlas::ops
