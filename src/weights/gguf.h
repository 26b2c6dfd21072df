// Reader of GGUF model files (versions 2 and 3, little-endian), safe on hostile input.
// Source: the GGUF specification of the ggml project (docs/gguf.md).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "weights/mapped_file.h"
#include "weights/tensor_source.h"

namespace altlas::weights {

// Limits on what a file may make us hold; real models are far below them.
inline constexpr uint64_t kGgufKeysMax = 65'536;
inline constexpr uint64_t kGgufTensorsMax = 1 << 20;
inline constexpr uint64_t kGgufKeyBytesMax = 65'535;
inline constexpr uint64_t kGgufTensorNameBytesMax = 256;
inline constexpr uint64_t kGgufArrayElementsMax = 1 << 24;
inline constexpr uint64_t kGgufAlignmentMax = 1 << 20;

// The numbers of the file format.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Where a metadata value lies. For an array, `element` and `count` describe it; else element ==
// type and count == 1.
struct GgufValue {
  GgufType type;
  GgufType element;
  uint64_t count;
  uint64_t offset;  // The offset of the first element, from the start of the file.
};

// One tensor as the file describes it, also of a type that we do not know.
struct GgufTensor {
  std::string_view name;
  uint32_t ggml_type;
  uint32_t dim_count;            // 1 to 4.
  std::array<uint64_t, 4> dims;  // dims[0] is contiguous (columns); unused ones are 1.
  uint64_t offset;               // The offset of its data, from the start of the file.
};

// An opened file. Everything it says about counts, lengths, types, offsets and alignment was
// checked when it was opened: no getter reads outside of it. Const after open, any thread. Views
// and spans that it returns live as long as it does, also when it is moved. Text is as in the file:
// UTF-8 is not checked.
class GgufFile final : public TensorSource {
 public:
  // Errors: kNotFound, kIo, or kInvalid naming the file, what is wrong and at which byte.
  static Result<GgufFile> open(const std::string& path);
  // Over bytes that the caller keeps; `name` stands for the path in messages.
  // Errors: kInvalid, as open.
  static Result<GgufFile> open_bytes(std::span<const uint8_t> bytes, std::string name);

  const std::string& name() const { return name_; }
  uint32_t version() const { return version_; }
  uint64_t file_bytes() const { return bytes_.size(); }

  // Metadata. A missing key is kNotFound, a value of another kind or out of range is kInvalid. The
  // `_or` forms give `fallback` for a missing key only.
  bool has(std::string_view key) const { return metadata_.contains(key); }
  const std::map<std::string_view, GgufValue>& metadata() const { return metadata_; }
  Result<std::string_view> string(std::string_view key) const;
  // Any integer type; a negative one is kInvalid.
  Result<uint64_t> uint64(std::string_view key) const;
  Result<int64_t> int64(std::string_view key) const;   // Any integer type.
  Result<double> float64(std::string_view key) const;  // Floats and integers; must be finite.
  Result<bool> boolean(std::string_view key) const;
  Result<std::string_view> string_or(std::string_view key, std::string_view fallback) const;
  Result<uint64_t> uint64_or(std::string_view key, uint64_t fallback) const;
  Result<int64_t> int64_or(std::string_view key, int64_t fallback) const;
  Result<double> float64_or(std::string_view key, double fallback) const;
  Result<bool> boolean_or(std::string_view key, bool fallback) const;
  // The views point into the file.
  Result<std::vector<std::string_view>> strings(std::string_view key) const;
  // Any integer type, or bool as 0 and 1.
  Result<std::vector<int64_t>> integers(std::string_view key) const;
  Result<std::vector<float>> floats(std::string_view key) const;  // float32 or float64.

  // In file order.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  std::vector<std::string_view> tensor_names() const override;
  bool has_tensor(std::string_view name) const override { return tensor_index_.contains(name); }
  // Errors: kNotFound; kInvalid if the type is one that we do not support (the message names it and
  // those we do).
  Result<TensorView> tensor(std::string_view name) const override;

 private:
  friend class GgufParser;
  GgufFile() = default;
  Result<GgufValue> find(std::string_view key) const;
  Error wrong_type(std::string_view key, const GgufValue& value, std::string_view wanted) const;
  Result<int64_t> integer_at(std::string_view key, const GgufValue& value, uint64_t index) const;

  std::string name_;
  MappedFile file_;                 // Empty for open_bytes.
  std::span<const uint8_t> bytes_;  // The whole file.
  uint32_t version_ = 0;
  std::map<std::string_view, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, uint32_t> tensor_index_;
};

// "string", "array of int32".
std::string to_string(const GgufValue& value);
// "IQ4_XS", or "type 77" for a number that is not in the specification we know.
std::string ggml_type_name(uint32_t ggml_type);

}  // namespace altlas::weights
