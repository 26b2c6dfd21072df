// ContentHash: which bytes these are, for whoever compares without holding them.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string_view>

namespace altlas {

// SHA-256: nobody can make other bytes with the same hash, so equal hashes stand for equal bytes
// also where the bytes come from different users.
struct ContentHash {
  std::array<uint8_t, 32> bytes{};
  friend auto operator<=>(const ContentHash&, const ContentHash&) = default;
};

ContentHash content_hash(std::string_view content);

}  // namespace altlas
