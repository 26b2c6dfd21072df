// A GGUF model of one file, or of several (NAME-00001-of-00003.gguf).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "weights/gguf.h"
#include "weights/tensor_source.h"

namespace altlas::weights {

// Const after open, any thread. Movable; views survive a move.
class GgufModel final : public TensorSource {
 public:
  // `path`: the file, or the first of a split model; the others are opened from the same folder.
  // Errors: as GgufFile::open; kInvalid for a later shard, for shards that do not belong together,
  // and for a tensor that is in two of them.
  static Result<GgufModel> open(const std::string& path);

  // Holds the model's metadata (the first file's).
  const GgufFile& head() const { return files_.front(); }
  const std::vector<GgufFile>& files() const { return files_; }

  std::vector<std::string_view> tensor_names() const override;
  bool has_tensor(std::string_view name) const override { return file_of_.contains(name); }
  Result<TensorView> tensor(std::string_view name) const override;

 private:
  GgufModel() = default;
  Result<void> add(GgufFile file);
  Result<void> open_shards(const std::string& path, uint64_t count);

  std::vector<GgufFile> files_;
  std::map<std::string_view, uint32_t> file_of_;  // Tensor name -> index in files_.
};

}  // namespace altlas::weights
