#include "weights/gguf_model.h"

#include <fmt/format.h>

#include "weights/messages.h"
#include "weights/model_source.h"

namespace altlas::weights {

Result<GgufModel> GgufModel::open(const std::string& path) {
  ALTLAS_TRY(GgufFile first, GgufFile::open(path));
  ALTLAS_TRY(const uint64_t count, first.uint64_or("split.count", 1));
  ALTLAS_TRY(const uint64_t number, first.uint64_or("split.no", 0));
  if (count > kShardsMax)
    return invalid(fmt::format("{}: split.count is {}; at most {} files are allowed", path, count,
                               kShardsMax));
  if (number != 0)
    return invalid(
        fmt::format("{}: is file {} of {} of a split model; name the first (-00001-of-{:05}.gguf)",
                    path, number + 1, count, count));
  GgufModel model;
  ALTLAS_TRY_VOID(model.add(std::move(first)));
  if (count > 1) ALTLAS_TRY_VOID(model.open_shards(path, count));
  return model;
}

Result<void> GgufModel::open_shards(const std::string& path, uint64_t count) {
  uint32_t named_number = 0, named_count = 0;
  if (!parse_shard_name(path, named_number, named_count) || named_number != 1 ||
      named_count != count)
    return invalid(
        fmt::format("{}: is the first of {} files of a split model; its name must end in "
                    "-00001-of-{:05}.gguf so that "
                    "the others are found",
                    path, count, count));
  const std::string stem =
      path.substr(0, path.size() - std::string_view("00001-of-00001.gguf").size());
  for (uint64_t i = 1; i < count; ++i) {
    const std::string shard_path = fmt::format("{}{:05}-of-{:05}.gguf", stem, i + 1, count);
    ALTLAS_TRY(GgufFile shard, GgufFile::open(shard_path));
    ALTLAS_TRY(const uint64_t shard_number, shard.uint64("split.no"));
    ALTLAS_TRY(const uint64_t shard_count, shard.uint64("split.count"));
    if (shard_number != i || shard_count != count)
      return invalid(fmt::format("{}: says that it is file {} of {}; {} of {} is right", shard_path,
                                 shard_number + 1, shard_count, i + 1, count));
    ALTLAS_TRY_VOID(add(std::move(shard)));
  }
  ALTLAS_TRY(const uint64_t tensors, head().uint64_or("split.tensors.count", file_of_.size()));
  if (tensors != file_of_.size())
    return invalid(fmt::format("{}: the {} files hold {} tensors; split.tensors.count says {}",
                               path, count, file_of_.size(), tensors));
  return {};
}

Result<void> GgufModel::add(GgufFile file) {
  const auto index = static_cast<uint32_t>(files_.size());
  for (const GgufTensor& tensor : file.tensors())
    if (!file_of_.emplace(tensor.name, index).second)
      return invalid(fmt::format("{}: tensor {} is in an earlier file of the model too",
                                 file.name(), shown(tensor.name)));
  files_.push_back(std::move(file));
  return {};
}

std::vector<std::string_view> GgufModel::tensor_names() const {
  std::vector<std::string_view> names;
  names.reserve(file_of_.size());
  for (const auto& [name, file] : file_of_) names.push_back(name);
  return names;
}

Result<TensorView> GgufModel::tensor(std::string_view name) const {
  const auto found = file_of_.find(name);
  // If the tensor is missing, the file says so.
  return files_[found == file_of_.end() ? 0 : found->second].tensor(name);
}

}  // namespace altlas::weights
