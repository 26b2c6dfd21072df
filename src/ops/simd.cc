#include "ops/simd.h"

#include <hwy/targets.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <atomic>
#include <string>

#include "ops/amx.h"

namespace altlas::ops {
namespace {

constexpr SimdTarget kTargets[] = {
    SimdTarget::kScalar,     SimdTarget::kAvx2,       SimdTarget::kAvxVnni,
    SimdTarget::kAvx512Vnni, SimdTarget::kAvx512Bf16, SimdTarget::kAmx,
    SimdTarget::kAmxBf16,    SimdTarget::kNeon,       SimdTarget::kNeonDotprod};
// The targets that are chosen unasked, best first.
constexpr SimdTarget kAutomatic[] = {SimdTarget::kAvx512Vnni, SimdTarget::kAvxVnni,
                                     SimdTarget::kAvx2, SimdTarget::kNeonDotprod,
                                     SimdTarget::kNeon};

SimdTarget best() {
  for (const SimdTarget target : kAutomatic) {
    if (simd_supported(target)) return target;
  }
  return SimdTarget::kScalar;
}

std::atomic<SimdTarget>& current() {
  static std::atomic<SimdTarget> target{best()};
  return target;
}

// Returns what Highway may use: nothing above the chosen target. The fallback (the portable code,
// or the architecture's least target) is always in its tables.
int64_t highway_targets(SimdTarget target) {
  constexpr int64_t kFallback = HWY_EMU128 | HWY_SCALAR;
  constexpr int64_t kUpToAvx2 = HWY_AVX2 | HWY_SSE4 | HWY_SSSE3 | kFallback;
  switch (target) {
    case SimdTarget::kScalar:
      return kFallback;
    case SimdTarget::kAvx2:
    case SimdTarget::kAvxVnni:
      return kUpToAvx2;
    case SimdTarget::kAvx512Vnni:
    case SimdTarget::kAvx512Bf16:
    case SimdTarget::kAmx:
    case SimdTarget::kAmxBf16:
      return HWY_AVX3 | HWY_AVX3_DL | kUpToAvx2;
    case SimdTarget::kNeon:
    case SimdTarget::kNeonDotprod:
      return HWY_NEON | kFallback;
  }
  return kFallback;
}

// Returns "a, b", the targets for which `supported` is `wanted`.
std::string names(bool wanted) {
  std::string out;
  for (const SimdTarget target : kTargets) {
    if (simd_supported(target) != wanted) continue;
    if (!out.empty()) out += ", ";
    out += to_string(target);
  }
  return out;
}

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}
// It asks the CPU itself, since compilers know different names here.
bool has_avx_vnni() {
  unsigned a, b, c, d;
  constexpr unsigned kAvxVnni = 1u << 4;
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni) != 0;
}
bool has_avx512_vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

}  // namespace

std::span<const SimdTarget> simd_targets() { return kTargets; }

std::string_view to_string(SimdTarget target) {
  switch (target) {
    case SimdTarget::kScalar:
      return "scalar";
    case SimdTarget::kAvx2:
      return "avx2";
    case SimdTarget::kAvxVnni:
      return "avx_vnni";
    case SimdTarget::kAvx512Vnni:
      return "avx512_vnni";
    case SimdTarget::kAvx512Bf16:
      return "avx512_bf16";
    case SimdTarget::kAmx:
      return "amx";
    case SimdTarget::kAmxBf16:
      return "amx_bf16";
    case SimdTarget::kNeon:
      return "neon";
    case SimdTarget::kNeonDotprod:
      return "neon_dotprod";
  }
  return "?";
}

std::string supported_simd_targets() { return names(true); }

Result<SimdTarget> parse_simd_target(std::string_view name) {
  for (const SimdTarget target : kTargets) {
    if (name == to_string(target)) return target;
  }
  return invalid("unknown SIMD target \"" + std::string(name.substr(0, 40)) +
                 "\": this machine can run " + names(true) + "; others can run " + names(false));
}

bool simd_supported(SimdTarget target) {
  if (target == SimdTarget::kScalar) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (target == SimdTarget::kAvx2) return has_avx2();
  if (target == SimdTarget::kAvxVnni) return has_avx_vnni();
  if (target == SimdTarget::kAvx512Vnni) return has_avx512_vnni();
  if (target == SimdTarget::kAvx512Bf16)
    return has_avx512_vnni() && __builtin_cpu_supports("avx512bf16");
  if (target == SimdTarget::kAmx) return has_avx512_vnni() && amx_missing().empty();
  if (target == SimdTarget::kAmxBf16) return has_avx512_vnni() && amx_bf16_missing().empty();
#elif defined(__aarch64__)
  if (target == SimdTarget::kNeon) return true;
  if (target == SimdTarget::kNeonDotprod) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return false;
}

bool simd_keeps_bits(SimdTarget target) {
  return target != SimdTarget::kAvx512Bf16 && target != SimdTarget::kAmxBf16;
}

std::string simd_notice(SimdTarget target) {
  if (simd_keeps_bits(target)) return {};
  return "SIMD target " + std::string(to_string(target)) +
         " leaves the promise of equal bits: it rounds the inputs of products with BF16 weights to "
         "bfloat16, so texts may differ from those of other targets and machines";
}

SimdTarget simd_target() { return current().load(std::memory_order_relaxed); }

Result<void> set_simd_target(SimdTarget target) {
  if (!simd_supported(target)) {
    std::string message = "this machine cannot run " + std::string(to_string(target)) +
                          "; it can run " + supported_simd_targets();
    if (target == SimdTarget::kAmx) message += " (" + amx_missing() + ")";
    if (target == SimdTarget::kAmxBf16) message += " (" + amx_bf16_missing() + ")";
    return Error(ErrorCode::kUnsupported, std::move(message));
  }
  if (target == SimdTarget::kAmx || target == SimdTarget::kAmxBf16) {
    if (Result<void> lent = amx_request(); !lent.ok()) return lent;
  }
  // The mask must not let in targets that the CPU lacks, so it keeps what the CPU has.
  hwy::SetSupportedTargetsForTest(0);
  const int64_t usable = hwy::SupportedTargets() & highway_targets(target);
  hwy::SetSupportedTargetsForTest(usable != 0 ? usable : highway_targets(SimdTarget::kScalar));
  current().store(target, std::memory_order_relaxed);
  return {};
}

}  // namespace altlas::ops
