// Memory of log-probabilities, as streams and ended tasks count what they hold.
#pragma once

#include <cstdint>
#include <span>

#include "task/task.h"

namespace altlas::control {

inline uint64_t held_bytes(std::span<const TokenLogprobs> list) {
  uint64_t bytes = list.size_bytes();
  for (const TokenLogprobs& one : list) bytes += one.top.size() * sizeof one.top.front();
  return bytes;
}

}  // namespace altlas::control
