// LoRA adapters that are to be read beside a replica's steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace altlas::engine {

inline constexpr size_t kAdaptersMax = 256;  // The limit of one replica, those being read included.

// An adapter's file that is to be read.
struct AdapterJob {
  uint32_t id = 0;  // As SequenceRequest::adapter names it.
  std::string path;
};
struct AdapterRead {
  uint32_t id = 0;
  Result<uint64_t> bytes = uint64_t{0};
};

}  // namespace altlas::engine
