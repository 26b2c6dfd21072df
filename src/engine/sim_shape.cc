#include "engine/sim_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "model/model_file.h"
#include "weights/gguf_model.h"

namespace altlas::engine {

namespace {

// Reads an integer of the architecture's section ("qwen2.block_count") as uint32; of an array, its
// largest element.
Result<uint32_t> number(const weights::GgufFile& file, std::string_view architecture,
                        std::string_view name, int64_t fallback) {
  const std::string key = fmt::format("{}.{}", architecture, name);
  int64_t value = fallback;
  if (const auto found = file.metadata().find(key);
      found != file.metadata().end() && found->second.type == weights::GgufType::kArray) {
    ALTLAS_TRY(const auto values, file.integers(key));
    if (!values.empty()) value = std::ranges::max(values);
  } else if (fallback < 0) {
    ALTLAS_TRY(value, file.int64(key));
  } else {
    ALTLAS_TRY(value, file.int64_or(key, fallback));
  }
  if (value < 0 || value > (int64_t{1} << 30))
    return invalid(fmt::format("{} is {}; 0 to 2^30 is possible", key, value));
  return static_cast<uint32_t>(value);
}

// Reads the shape from a Hugging Face folder.
Result<SimShape> read_folder_shape(const std::string& path) {
  ALTLAS_TRY(const model::ModelFile file, model::ModelFile::open(path));
  const model::Hyperparameters& config = file.config();
  const bool experts = config.experts.count > 0;
  SimShape shape{.layers = config.layer_count,
                 .hidden = config.hidden,
                 .heads = config.q_heads,
                 .kv_heads = config.kv_heads,
                 .head_dim = config.head_dim,
                 .ffn = experts ? config.experts.feed_forward : config.feed_forward,
                 .experts = config.experts.count,
                 .experts_used = config.experts.used,
                 .vocab = config.vocab_size,
                 .model_len_max = config.context_length};
  for (const std::string_view name : file.tensors().tensor_names()) {
    ALTLAS_TRY(const weights::TensorView tensor, file.tensors().tensor(name));
    shape.weight_bytes += tensor.data.size();
  }
  return shape;
}

}  // namespace

Result<SimShape> read_sim_shape(const std::string& path) {
  if (model::is_model_folder(path)) return read_folder_shape(path);
  ALTLAS_TRY(const weights::GgufModel model, weights::GgufModel::open(path));
  const weights::GgufFile& file = model.head();
  ALTLAS_TRY(const std::string_view a, file.string("general.architecture"));
  SimShape shape;
  ALTLAS_TRY(shape.layers, number(file, a, "block_count", -1));
  ALTLAS_TRY(shape.hidden, number(file, a, "embedding_length", -1));
  ALTLAS_TRY(shape.heads, number(file, a, "attention.head_count", -1));
  ALTLAS_TRY(shape.kv_heads, number(file, a, "attention.head_count_kv", shape.heads));
  ALTLAS_TRY(shape.head_dim, number(file, a, "attention.key_length",
                                    shape.heads == 0 ? 0 : shape.hidden / shape.heads));
  ALTLAS_TRY(shape.experts, number(file, a, "expert_count", 0));
  ALTLAS_TRY(shape.experts_used, number(file, a, "expert_used_count", 0));
  ALTLAS_TRY(shape.ffn, number(file, a, "feed_forward_length", 0));
  if (shape.experts > 0) {
    ALTLAS_TRY(shape.ffn, number(file, a, "expert_feed_forward_length", shape.ffn));
  }
  ALTLAS_TRY(shape.model_len_max, number(file, a, "context_length", 0));
  const auto tokens = file.metadata().find("tokenizer.ggml.tokens");
  if (tokens == file.metadata().end()) return not_found("tokenizer.ggml.tokens is missing");
  shape.vocab = static_cast<uint32_t>(std::min<uint64_t>(tokens->second.count, uint64_t{1} << 30));
  for (const std::string_view name : model.tensor_names()) {
    ALTLAS_TRY(const weights::TensorView tensor, model.tensor(name));
    shape.weight_bytes += tensor.data.size();
  }
  return shape;
}

}  // namespace altlas::engine
