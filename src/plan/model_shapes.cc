#include "plan/model_shapes.h"

#include <algorithm>
#include <vector>

#include "base/strings.h"
#include "base/units.h"

namespace altlas::plan {
namespace {

// Source: the config.json files that the models were published with.
// clang-format off
constexpr ModelShape kShapes[] = {
    // name        layers hidden heads kv dim ffn vocab context tied qk_norm experts used
    {"llama-2-7b", 32, 4096, 32, 32, 128, 11008, 32000, 4096},
    {"llama-2-13b", 40, 5120, 40, 40, 128, 13824, 32000, 4096},
    {"llama-2-70b", 80, 8192, 64, 8, 128, 28672, 32000, 4096},
    {"llama-3-8b", 32, 4096, 32, 8, 128, 14336, 128256, 8192},
    {"llama-3-70b", 80, 8192, 64, 8, 128, 28672, 128256, 8192},
    {"llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, 131072},
    {"llama-3.1-70b", 80, 8192, 64, 8, 128, 28672, 128256, 131072},
    {"llama-3.1-405b", 126, 16384, 128, 8, 128, 53248, 128256, 131072},
    {"llama-3.2-1b", 16, 2048, 32, 8, 64, 8192, 128256, 131072, true},
    {"llama-3.2-3b", 28, 3072, 24, 8, 128, 8192, 128256, 131072, true},
    {"llama-3.3-70b", 80, 8192, 64, 8, 128, 28672, 128256, 131072},
    {"mistral-7b", 32, 4096, 32, 8, 128, 14336, 32768, 32768},
    {"mistral-small-24b", 40, 5120, 32, 8, 128, 32768, 131072, 32768},
    {"mistral-large-123b", 88, 12288, 96, 8, 128, 28672, 32768, 131072},
    {"mixtral-8x7b", 32, 4096, 32, 8, 128, 14336, 32000, 32768, false, false, 8, 2},
    {"mixtral-8x22b", 56, 6144, 48, 8, 128, 16384, 32768, 65536, false, false, 8, 2},
    {"qwen2.5-0.5b", 24, 896, 14, 2, 64, 4864, 151936, 32768, true},
    {"qwen2.5-1.5b", 28, 1536, 12, 2, 128, 8960, 151936, 32768, true},
    {"qwen2.5-3b", 36, 2048, 16, 2, 128, 11008, 151936, 32768, true},
    {"qwen2.5-7b", 28, 3584, 28, 4, 128, 18944, 152064, 131072},
    {"qwen2.5-14b", 48, 5120, 40, 8, 128, 13824, 152064, 131072},
    {"qwen2.5-32b", 64, 5120, 40, 8, 128, 27648, 152064, 131072},
    {"qwen2.5-72b", 80, 8192, 64, 8, 128, 29568, 152064, 131072},
    {"qwen3-0.6b", 28, 1024, 16, 8, 128, 3072, 151936, 40960, true, true},
    {"qwen3-1.7b", 28, 2048, 16, 8, 128, 6144, 151936, 40960, true, true},
    {"qwen3-4b", 36, 2560, 32, 8, 128, 9728, 151936, 40960, true, true},
    {"qwen3-8b", 36, 4096, 32, 8, 128, 12288, 151936, 40960, false, true},
    {"qwen3-14b", 40, 5120, 40, 8, 128, 17408, 151936, 40960, false, true},
    {"qwen3-32b", 64, 5120, 64, 8, 128, 25600, 151936, 40960, false, true},
    {"qwen3-30b-a3b", 48, 2048, 32, 4, 128, 768, 151936, 40960, false, true, 128, 8},
    {"qwen3-235b-a22b", 94, 4096, 64, 4, 128, 1536, 151936, 40960, false, true, 128, 8},
    {"deepseek-v3", 61, 7168, 128, 128, 128, 2048, 129280, 163840, false, false, 256, 8, 2048, 3, 18432, 576, 187107328},
    {"deepseek-r1", 61, 7168, 128, 128, 128, 2048, 129280, 163840, false, false, 256, 8, 2048, 3, 18432, 576, 187107328},
    {"gemma-2-9b", 42, 3584, 16, 8, 256, 14336, 256000, 8192, true},
    {"gemma-2-27b", 46, 4608, 32, 16, 128, 36864, 256000, 8192, true},
    {"gemma-3-27b", 62, 5376, 32, 16, 128, 21504, 262208, 131072, true, true},
    {"phi-4", 40, 5120, 40, 10, 128, 17920, 100352, 16384},
    {"gpt-oss-20b", 24, 2880, 64, 8, 64, 2880, 201088, 131072, false, false, 32, 4},
    {"gpt-oss-120b", 36, 2880, 64, 8, 64, 2880, 201088, 131072, false, false, 128, 4},
};
// Endings that publishers add to a name without changing the shape.
constexpr std::string_view kSuffixes[] = {
    "-instruct", "-chat", "-base", "-it", "-pt", "-hf", "-fp8", "-fp4", "-nvfp4", "-bf16", "-fp16", "-awq", "-gptq",
    "-dynamic", "-quantized", "-w8a8", "-w4a16", "-int4", "-int8", "-v0.1", "-v0.2", "-v0.3", "-2501", "-2507", "-0324",
    "-0528", "-99", "-99.9", "-gguf", "-2411", "-2407"};
// clang-format on

std::string plain_name(std::string_view name) {
  if (const size_t slash = name.find_last_of('/'); slash != std::string_view::npos)
    name.remove_prefix(slash + 1);
  std::string out = lower(name);
  std::ranges::replace(out, '_', '-');
  for (const std::string_view prefix : {"meta-", "nvidia-"})
    if (out.starts_with(prefix)) out.erase(0, prefix.size());
  if (out.starts_with("llama") && out.size() > 5 && out[5] != '-') out.insert(5, "-");
  for (bool cut = true; cut;) {
    cut = false;
    for (const std::string_view suffix : kSuffixes) {
      if (!out.ends_with(suffix) || out.size() == suffix.size()) continue;
      out.resize(out.size() - suffix.size());
      cut = true;
    }
  }
  return out;
}
}  // namespace

double ModelShape::layer_attention_parameters() const {
  if (attention_weights > 0) return static_cast<double>(attention_weights);
  return (2.0 * heads + 2.0 * kv_heads) * head_dim * hidden;
}

double ModelShape::layer_ffn_parameters(int32_t layer) const {
  if (experts == 0) return 3.0 * hidden * ffn;
  if (layer < dense_layers) return 3.0 * hidden * dense_ffn;
  return 3.0 * hidden * (static_cast<double>(ffn) * experts + shared_ffn) +
         static_cast<double>(hidden) * experts;  // The router.
}

double ModelShape::vocabulary_parameters() const {
  return (tied ? 1.0 : 2.0) * vocab * static_cast<double>(hidden);
}

double ModelShape::parameters() const {
  double sum = vocabulary_parameters() + layers * layer_attention_parameters();
  for (int32_t layer = 0; layer < layers; ++layer) sum += layer_ffn_parameters(layer);
  return sum;
}

double ModelShape::kv_values_per_token(int32_t tensor) const {
  if (latent_values > 0) return static_cast<double>(layers) * latent_values;
  const double here = std::max(1.0, static_cast<double>(kv_heads) / tensor);
  return 2.0 * layers * here * head_dim;
}

std::span<const ModelShape> model_shapes() { return kShapes; }

Result<ModelShape> model_shape(std::string_view name) {
  const std::string plain = plain_name(name);
  const auto* found = std::ranges::find(kShapes, plain, &ModelShape::name);
  if (found != std::end(kShapes)) return *found;
  std::vector<std::string_view> names;
  std::string all;
  for (const ModelShape& shape : kShapes) {
    names.push_back(shape.name);
    all += (all.empty() ? "" : ", ") + std::string(shape.name);
  }
  const std::string_view near = did_you_mean(plain, names.data(), names.size());
  const std::string hint =
      near.empty() ? "use one of " + all : "did you mean " + std::string(near) + "?";
  return not_found("the shape of model '" + std::string(name.substr(0, 100)) +
                   "' is not known: " + hint);
}

}  // namespace altlas::plan
