// Fuzzes the reader of a GGUF model's numbers: a well-formed file, whose keys, types and values the
// fuzzer chooses, gives an error or numbers that fit together.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "model/gguf_config.h"
#include "weights/gguf_writer.h"

namespace {

using altlas::model::architectures;
using altlas::weights::GgufWriter;

constexpr std::array<const char*, 33> kKeys = {
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "context_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.scale",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.attn_factor",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "expert_weights_norm",
    "pooling_type",
    "vocab_size",
    "attention.causal",
    "tokenizer.ggml.model",
};

// Writes a value of any type. Most are small counts, since those pass the first checks.
void put_value(FuzzedDataProvider& data, GgufWriter& out, const std::string& key) {
  switch (data.ConsumeIntegralInRange(0, 9)) {
    case 0:
      out.uint32(key, data.ConsumeIntegral<uint32_t>());
      break;
    case 1:
      out.int32(key, data.ConsumeIntegral<int32_t>());
      break;
    case 2:
      out.uint64(key, data.ConsumeIntegral<uint64_t>());
      break;
    case 3:
      out.float32(key, data.ConsumeFloatingPoint<float>());
      break;
    case 4:
      out.boolean(key, data.ConsumeBool());
      break;
    case 5:
      out.string(key, data.PickValueInArray({"none", "linear", "yarn", "dynamic", "", "llama3"}));
      break;
    case 6: {
      std::vector<int32_t> values(data.ConsumeIntegralInRange<size_t>(0, 12));
      for (int32_t& value : values) value = data.ConsumeIntegralInRange(-1, 64);
      out.int32s(key, values);
      break;
    }
    case 7:
      out.float32(key, data.ConsumeFloatingPointInRange<float>(0, 64));
      break;
    default:
      out.uint32(key, data.ConsumeIntegralInRange<uint32_t>(0, 256));
  }
}

GgufWriter composed(FuzzedDataProvider& data) {
  GgufWriter out;
  const auto kinds = architectures();
  const std::string name(kinds[data.ConsumeIntegralInRange<size_t>(0, kinds.size() - 1)].name);
  out.string("general.architecture", name);
  for (size_t i = 0; i < kKeys.size(); ++i)
    if (data.ConsumeBool()) put_value(data, out, name + "." + kKeys[i]);
  const auto cols = data.ConsumeIntegralInRange<uint64_t>(1, 64);
  const auto rows = data.ConsumeIntegralInRange<uint64_t>(1, 64);
  const std::vector<float> zeros(cols * rows);
  if (data.ConsumeBool()) out.tensor("token_embd.weight", {cols, rows}, zeros);
  if (data.ConsumeBool()) out.tensor("blk.0.ffn_gate_shexp.weight", {cols, rows}, zeros);
  if (data.ConsumeBool()) {
    std::vector<float> factors(data.ConsumeIntegralInRange<size_t>(1, 64));
    for (float& factor : factors) factor = data.ConsumeFloatingPoint<float>();
    out.tensor("rope_freqs.weight", {factors.size()}, factors);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const int file = memfd_create("model", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  FuzzedDataProvider data(bytes, size);
  const std::vector<uint8_t> image = composed(data).bytes();
  ALTLAS_CHECK(ftruncate(file, 0) == 0, "an empty file");
  ALTLAS_CHECK(pwrite(file, image.data(), image.size(), 0) == static_cast<ssize_t>(image.size()),
               "a written file");
  const auto model = altlas::weights::GgufModel::open(path);
  ALTLAS_CHECK(model.ok(), "a well-formed file");
  const auto config = altlas::model::read_gguf_config(*model);
  if (!config.ok()) return 0;
  ALTLAS_CHECK(altlas::model::check_config(*config).ok(), "a checked config");
  ALTLAS_CHECK(config->architecture.encoder || config->window_layers.size() == config->layer_count,
               "a window or none for each layer");
  ALTLAS_CHECK(
      config->architecture.encoder || config->rope.frequency.size() * 2 <= config->head_dim,
      "no more frequencies than pairs of a head");
  return 0;
}
