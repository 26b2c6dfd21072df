// Arena: hands out pieces of one buffer in order; without a buffer it only measures.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/integers.h"
#include "tensor/rows.h"

namespace altlas::model {

// Bytes of whole pages: what a device's buffers take.
constexpr uint64_t whole_pages(uint64_t bytes) { return round_up(bytes, 4096); }

class Arena {
 public:
  Arena() = default;
  // filled: the pieces hold what they shall hold already.
  Arena(std::byte* base, uint64_t size, bool filled = false)
      : base_(base), size_(size), filled_(filled) {}

  bool measuring() const { return base_ == nullptr; }
  // True if who takes a piece writes it; otherwise it may be read-only memory.
  bool fills() const { return base_ != nullptr && !filled_; }
  // 64-byte aligned; nullptr while measuring.
  std::byte* take(uint64_t bytes) {
    const uint64_t at = used_;
    used_ += (bytes + 63) / 64 * 64;
    if (measuring()) return nullptr;
    ALTLAS_CHECK(used_ <= size_, "an arena as large as was measured");
    return base_ + at;
  }
  template <class T>
  T* take_array(uint64_t count) {
    return reinterpret_cast<T*>(take(count * sizeof(T)));
  }
  // `count` rows, one behind the other.
  template <class T>
  Rows<T> take_rows(uint64_t count, uint64_t stride) {
    return {take_array<T>(count * stride), count, stride};
  }
  uint64_t used() const { return used_; }

 private:
  std::byte* base_ = nullptr;
  uint64_t size_ = 0;
  uint64_t used_ = 0;
  bool filled_ = false;
};

}  // namespace altlas::model
