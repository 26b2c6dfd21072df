// Bytes and durations as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas {

inline constexpr uint64_t kKiB = uint64_t{1} << 10;
inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr uint64_t kGiB = uint64_t{1} << 30;

// "4GiB", "512MiB", "8GB" (10^9), "512M" (MiB, as nccl-tests writes it), "1024" (bytes).  Errors:
// kInvalid.
Result<uint64_t> parse_bytes(std::string_view text);
// "4.00 GiB", "512 B".
std::string format_bytes(uint64_t bytes);
// The name among `names` nearest to `name` by edit distance, empty if none is within a third of its
// length (at least 1).
std::string_view did_you_mean(std::string_view name, const std::string_view* names, size_t count);

}  // namespace altlas
