// Writes GGUF files (version 3): tiny models for tests, and converted ones.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace altlas::weights {

// Collects metadata and tensors, then lays them out. One thread. Keys and names are written in the
// order given and are not checked for duplicates; the reader refuses those.
class GgufWriter {
 public:
  // A power of two, at least 8. Written as general.alignment unless it is the default 32.
  explicit GgufWriter(uint32_t alignment = 32);

  GgufWriter& uint32(std::string_view key, uint32_t value);
  GgufWriter& int32(std::string_view key, int32_t value);
  GgufWriter& uint64(std::string_view key, uint64_t value);
  GgufWriter& float32(std::string_view key, float value);
  GgufWriter& boolean(std::string_view key, bool value);
  GgufWriter& string(std::string_view key, std::string_view value);
  GgufWriter& strings(std::string_view key, std::span<const std::string> values);
  GgufWriter& int32s(std::string_view key, std::span<const int32_t> values);
  GgufWriter& float32s(std::string_view key, std::span<const float> values);

  // dims[0] is the contiguous one: a matrix [rows, cols] is {cols, rows}. data: copied; its size
  // must be that of dims.
  GgufWriter& tensor(std::string_view name, DType dtype, std::span<const uint64_t> dims,
                     std::span<const uint8_t> data);
  GgufWriter& tensor(std::string_view name, std::initializer_list<uint64_t> dims,
                     std::span<const float> data);

  // Describes a tensor whose data the caller writes behind header(), at the offset that this
  // returns (from the end of the header). Not together with tensor().
  uint64_t tensor_space(std::string_view name, DType dtype, std::span<const uint64_t> dims);
  // All that stands before the data, padded to the alignment.
  std::vector<uint8_t> header() const;
  uint64_t space_bytes() const { return space_bytes_; }

  std::vector<uint8_t> bytes() const;
  // Writes a temporary file beside `path`, then renames it.  Errors: kIo.
  Result<void> write(const std::string& path) const;

 private:
  void key(std::string_view key, uint32_t type);
  uint64_t describe(std::string_view name, DType dtype, std::span<const uint64_t> dims,
                    uint64_t offset);

  uint32_t alignment_;
  uint64_t key_count_ = 0, tensor_count_ = 0, space_bytes_ = 0;
  std::vector<uint8_t> metadata_, descriptions_, data_;
};

}  // namespace altlas::weights
