#include "ops/amx.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#endif

namespace altlas::ops {

#if defined(__x86_64__)
namespace {

// These numbers are from Linux's arch/x86/include/uapi/asm/prctl.h; old headers lack them.
constexpr int kGetSupportedStates = 0x1021;
constexpr int kRequestState = 0x1023;
// The bit of the tiles' state in XCR0; 17 is the tile configuration.
constexpr unsigned kTileData = 18;

__attribute__((target("xsave"))) uint64_t enabled_states() { return __builtin_ia32_xgetbv(0); }

}  // namespace

std::string amx_missing() {
  unsigned a, b, c, d;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25, kOsSaves = 1u << 27;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTile) == 0 || (d & kInt8) == 0)
    return "the CPU has no amx_tile and amx_int8";
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsSaves) == 0 ||
      (enabled_states() >> (kTileData - 1) & 3) != 3)
    return "the operating system does not save tile registers";
  uint64_t states = 0;
  if (syscall(SYS_arch_prctl, kGetSupportedStates, &states) != 0 || (states >> kTileData & 1) == 0)
    return "the kernel does not lend tile registers (Linux 5.16 does)";
  return {};
}

std::string amx_bf16_missing() {
  if (std::string missing = amx_missing(); !missing.empty()) return missing;
  unsigned a, b, c, d;
  constexpr unsigned kTileBf16 = 1u << 22, kAvx512Bf16 = 1u << 5;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTileBf16) == 0)
    return "the CPU has no amx_bf16";
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a & kAvx512Bf16) == 0)
    return "the CPU has no avx512_bf16";
  return {};
}

Result<void> amx_request() {
  if (syscall(SYS_arch_prctl, kRequestState, kTileData) == 0) return {};
  return Error(ErrorCode::kUnsupported,
               std::string("the kernel refuses the tile registers: ") + std::strerror(errno));
}
#else
std::string amx_missing() { return "this is no x86-64 machine"; }
std::string amx_bf16_missing() { return amx_missing(); }
Result<void> amx_request() { return Error(ErrorCode::kUnsupported, amx_missing()); }
#endif

}  // namespace altlas::ops
