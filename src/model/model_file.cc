#include "model/model_file.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "model/gguf_config.h"
#include "model/hf_config.h"
#include "model/hf_tensors.h"
#include "weights/gguf_model.h"
#include "weights/mapped_file.h"
#include "weights/safetensors.h"

namespace altlas::model {
namespace {
std::string_view text_of(const weights::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}
}  // namespace

bool is_model_folder(const std::string& path) {
  std::error_code failed;
  return std::filesystem::is_regular_file(std::filesystem::path(path) / "config.json", failed);
}

Result<ModelFile> ModelFile::open(const std::string& path) {
  ModelFile out;
  if (!is_model_folder(path)) {
    ALTLAS_TRY(weights::GgufModel gguf, weights::GgufModel::open(path));
    ALTLAS_TRY(out.config_, read_gguf_config(gguf));
    out.tensors_ = std::make_unique<weights::GgufModel>(std::move(gguf));
    return out;
  }
  const std::string config_path = path + "/config.json";
  ALTLAS_TRY(const weights::MappedFile mapped, weights::MappedFile::open(config_path));
  const auto bytes = mapped.bytes();
  ALTLAS_TRY(
      HfConfig config,
      read_hf_config({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, config_path));
  const std::string pooling_path = path + "/1_Pooling/config.json";
  std::error_code failed;
  if (std::filesystem::is_regular_file(pooling_path, failed)) {
    ALTLAS_TRY(const weights::MappedFile pooling, weights::MappedFile::open(pooling_path));
    ALTLAS_TRY(config.model.pooling, read_hf_pooling(text_of(pooling), pooling_path));
  }
  ALTLAS_TRY(weights::SafetensorsModel files, weights::SafetensorsModel::open(path));
  out.config_ = std::move(config.model);
  out.files_ = std::make_unique<weights::SafetensorsModel>(std::move(files));
  out.tensors_ = std::make_unique<HfTensors>(*out.files_, out.config_.architecture, config.tied);
  return out;
}

Result<uint64_t> ModelFile::identity() const {
  // The number of tensors whose values are hashed, and of bytes at each of their ends.
  constexpr size_t kSamples = 32;
  Hasher hasher;
  const Hyperparameters& c = config_;
  hasher.add(c.layer_count).add(c.hidden).add(c.q_heads).add(c.kv_heads).add(c.head_dim);
  hasher.add(double{c.norm_eps}).add(double{c.attention_scale}).add(double{c.attention_softcap});
  hasher.add(c.window).add(c.experts.used);
  for (const uint8_t windowed : c.window_layers) hasher.add(windowed);
  for (const RopeTable* rope : {&c.rope, &c.window_rope}) {
    hasher.add(double{rope->scale}).add(rope->frequency.size());
    for (const double frequency : rope->frequency) hasher.add(frequency);
  }
  std::vector<std::string_view> names = tensors_->tensor_names();
  std::ranges::sort(names);  // The two formats order the names differently.
  const size_t step = names.size() / kSamples + 1;
  for (size_t i = 0; i < names.size(); ++i) {
    ALTLAS_TRY(const weights::TensorView tensor, tensors_->tensor(names[i]));
    hasher.add(names[i]).add(static_cast<uint32_t>(tensor.dtype)).add(tensor.cols());
    hasher.add(tensor.rows());
    if (i % step != 0) continue;
    const std::string_view data(reinterpret_cast<const char*>(tensor.data.data()),
                                tensor.data.size());
    hasher.add(data.substr(0, kSamples))
        .add(data.substr(data.size() - std::min(data.size(), kSamples)));
  }
  return hasher.value();
}

}  // namespace altlas::model
