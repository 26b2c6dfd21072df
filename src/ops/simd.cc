#include "ops/simd.h"

#include <hwy/targets.h>

#include <atomic>
#include <string>

namespace altlas::ops {
namespace {

constexpr SimdTarget kTargets[] = {SimdTarget::kScalar, SimdTarget::kAvx2, SimdTarget::kAvx512Vnni};

SimdTarget best() {
  if (simd_supported(SimdTarget::kAvx512Vnni)) return SimdTarget::kAvx512Vnni;
  return simd_supported(SimdTarget::kAvx2) ? SimdTarget::kAvx2 : SimdTarget::kScalar;
}

std::atomic<SimdTarget>& current() {
  static std::atomic<SimdTarget> target{best()};
  return target;
}

// What Highway may use: nothing above the chosen target. The scalar fallback is always in its
// tables.
int64_t highway_targets(SimdTarget target) {
  constexpr int64_t kFallback = HWY_EMU128 | HWY_SCALAR;
#if defined(__x86_64__)
  constexpr int64_t kUpToAvx2 = HWY_AVX2 | HWY_SSE4 | HWY_SSSE3 | kFallback;
  if (target == SimdTarget::kAvx2) return kUpToAvx2;
  if (target == SimdTarget::kAvx512Vnni) return HWY_AVX3 | HWY_AVX3_DL | kUpToAvx2;
#else
  static_cast<void>(target);
#endif
  return kFallback;
}

}  // namespace

std::string_view to_string(SimdTarget target) {
  switch (target) {
    case SimdTarget::kScalar:
      return "scalar";
    case SimdTarget::kAvx2:
      return "avx2";
    case SimdTarget::kAvx512Vnni:
      return "avx512_vnni";
  }
  return "?";
}

Result<SimdTarget> parse_simd_target(std::string_view name) {
  for (const SimdTarget target : kTargets) {
    if (name == to_string(target)) return target;
  }
  return invalid("unknown SIMD target \"" + std::string(name.substr(0, 40)) +
                 "\": scalar, avx2 or avx512_vnni");
}

bool simd_supported(SimdTarget target) {
  if (target == SimdTarget::kScalar) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (target == SimdTarget::kAvx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

SimdTarget simd_target() { return current().load(std::memory_order_relaxed); }

Result<void> set_simd_target(SimdTarget target) {
  if (!simd_supported(target)) {
    return Error(ErrorCode::kUnsupported, "this CPU cannot run " + std::string(to_string(target)) +
                                              "; it can run " + std::string(to_string(best())) +
                                              " and below");
  }
  // With the mask set by this call, targets that the CPU lacks must not come in: keep what it has.
  hwy::SetSupportedTargetsForTest(0);
  const int64_t usable = hwy::SupportedTargets() & highway_targets(target);
  hwy::SetSupportedTargetsForTest(usable != 0 ? usable : highway_targets(SimdTarget::kScalar));
  current().store(target, std::memory_order_relaxed);
  return {};
}

}  // namespace altlas::ops
