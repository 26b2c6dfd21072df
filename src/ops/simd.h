// The one switch that says which SIMD instructions the kernels of this room use.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::ops {

enum class SimdTarget : uint8_t {
  kScalar,
  kAvx2,
  kAvxVnni,  // As kAvx2, with the VEX-coded VPDPBUSD: many CPUs have it and no AVX-512.
  kAvx512Vnni,
  kAvx512Bf16,   // As kAvx512Vnni; products of BF16 weights by VDPBF16PS.
  kAmx,          // As kAvx512Vnni; products of quantised weights by tiles.
  kAmxBf16,      // As kAmx; products of BF16 weights by TDPBF16PS.
  kNeon,         // Every arm64 CPU.
  kNeonDotprod,  // With SDOT.
};

// All of them, those of other machines too.
std::span<const SimdTarget> simd_targets();
// "scalar", "avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx", "amx_bf16", "neon",
// "neon_dotprod".
std::string_view to_string(SimdTarget target);
// Errors: kInvalid, naming those that this machine can run and those that others can.
Result<SimdTarget> parse_simd_target(std::string_view name);
// True if this CPU and operating system can run it.
bool simd_supported(SimdTarget target);
// "scalar, avx2": what this machine can run.
std::string supported_simd_targets();
// True for the targets that give the same bits as kScalar. The others are never chosen unasked.
bool simd_keeps_bits(SimdTarget target);
// What to tell a user who chose such a one: how its results differ. Empty for those that keep bits.
std::string simd_notice(SimdTarget target);
// The best supported one that keeps the bits, until set_simd_target chose another. AMX is left to
// who asks for it.
SimdTarget simd_target();
// Restricts Highway's dispatch as well. Call it while no kernel runs. Errors: kUnsupported if this
// machine cannot run it, naming those that it can.
Result<void> set_simd_target(SimdTarget target);

}  // namespace altlas::ops
