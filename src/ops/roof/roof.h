// What this CPU can do at most, measured: the figures that every speed stands beside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace altlas::ops {

// Each runs in the calling thread with the chosen SIMD target's widest instructions and returns how
// much work it did; the caller measures the time and runs one per thread at once.

// Reads `memory` once with a linear prefetch; returns its bytes. `sink` keeps the reads alive.
uint64_t roof_read(std::span<const std::byte> memory, uint64_t& sink);
// Multiply-adds of int8, sums in int32, in registers; `rounds` of a fixed block of work.
uint64_t roof_int8(uint64_t rounds, uint64_t& sink);
// Multiply-adds of float, in registers.
uint64_t roof_float(uint64_t rounds, uint64_t& sink);
// Multiply-adds of bfloat16 by VDPBF16PS, sums in float, in registers, whatever the target is; 0 on
// a CPU without it.
uint64_t roof_bf16(uint64_t rounds, uint64_t& sink);

}  // namespace altlas::ops
