// Reader of safetensors files and of Hugging Face model folders made of them, safe on hostile
// input. Source: the format description of the safetensors project (README, "Format").
#pragma once

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

// A header is parsed to a tree, so its size bounds our memory; real ones stay below 1 MiB.
inline constexpr uint64_t kSafetensorsHeaderBytesMax = 16 << 20;
inline constexpr uint64_t kSafetensorsIndexBytesMax = 16 << 20;
inline constexpr uint64_t kSafetensorsRankMax = 8;

// One file. As the format demands, its tensors cover its data without gap or overlap (checked when
// it is opened; this also shows a tensor that the header names twice). Const after open, any
// thread; views survive a move.
class SafetensorsFile final : public TensorSource {
 public:
  // Errors: kNotFound, kIo, or kInvalid naming the file and what is wrong.
  static Result<SafetensorsFile> open(const std::string& path);
  // Over bytes that the caller keeps; `name` stands for the path in messages.
  static Result<SafetensorsFile> open_bytes(std::span<const uint8_t> bytes, std::string name);

  const std::string& name() const { return name_; }
  // The header's free text (__metadata__).
  const std::map<std::string, std::string, std::less<>>& metadata() const { return metadata_; }

  std::vector<std::string_view> tensor_names() const override;
  bool has_tensor(std::string_view name) const override { return tensors_.contains(name); }
  Result<TensorView> tensor(std::string_view name) const override;

 private:
  friend class SafetensorsParser;
  SafetensorsFile() = default;
  struct Entry {
    std::string dtype;            // As the file spells it.
    std::vector<uint64_t> shape;  // Row-major: the last is contiguous.
    uint64_t begin, end;          // Within the data.
  };

  std::string name_;
  MappedFile file_;                // Empty for open_bytes.
  std::span<const uint8_t> data_;  // What follows the header.
  std::map<std::string, std::string, std::less<>> metadata_;
  std::map<std::string, Entry, std::less<>> tensors_;
};

// A folder: the files that model.safetensors.index.json names, else model.safetensors, else its
// only .safetensors file.
class SafetensorsModel final : public TensorSource {
 public:
  // Errors: as SafetensorsFile::open; kInvalid for an index that names files outside the folder, or
  // tensors that are not there.
  static Result<SafetensorsModel> open(const std::string& folder);

  const std::vector<SafetensorsFile>& files() const { return files_; }
  std::vector<std::string_view> tensor_names() const override;
  bool has_tensor(std::string_view name) const override { return file_of_.contains(name); }
  Result<TensorView> tensor(std::string_view name) const override;

 private:
  SafetensorsModel() = default;
  Result<void> add(const std::string& path);
  Result<void> add_indexed(const std::string& folder, const std::string& index_path);

  std::string folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string_view, uint32_t> file_of_;
};

}  // namespace altlas::weights
