// A 64-bit running hash for state, events and keys. Not for hostile keys in unordered containers.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace altlas {

// The finaliser of MurmurHash3: every input bit reaches every output bit.
constexpr uint64_t mix64(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  x ^= x >> 33;
  return x;
}

class Hasher {
 public:
  template <std::integral T>
  Hasher& add(T value) {
    state_ = mix64(state_ * 0x9e3779b97f4a7c15ULL + static_cast<uint64_t>(value) + 1);
    return *this;
  }
  Hasher& add(double value) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return add(bits);
  }
  Hasher& add(std::string_view text) {
    add(text.size());
    while (text.size() >= 8) {
      uint64_t word;
      std::memcpy(&word, text.data(), 8);
      add(word);
      text.remove_prefix(8);
    }
    uint64_t tail = 0;
    if (!text.empty()) std::memcpy(&tail, text.data(), text.size());
    return add(tail);
  }
  Hasher& add(std::span<const int32_t> values) {
    add(values.size());
    for (const int32_t v : values) add(v);
    return *this;
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0x243f6a8885a308d3ULL;
};

}  // namespace altlas
