// A whole file mapped read-only into memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"

namespace altlas::weights {

// Owns the mapping; const after open, any thread. The file must not shrink while it is mapped: a
// model file is replaced by rename, never rewritten in place (reading past a file's new end would
// be a bus error).
class MappedFile {
 public:
  // Errors: kNotFound if there is no such file, kInvalid if it is not a regular file, kIo
  // otherwise.
  static Result<MappedFile> open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  // Page-aligned start; stays where it is when the object moves.
  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace altlas::weights
