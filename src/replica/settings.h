// ReplicaSettings: what an operator chose for a replica. One row of fields() describes each
// setting; configuration, worker frames and load options are made from the rows.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "base/fields.h"
#include "config/engine_config.h"
#include "config/names.h"

namespace altlas::replica {

// A LoRA adapter that requests may name.
struct AdapterFile {
  std::string name;
  std::string path;  // A GGUF or safetensors file that the worker can open.
  friend bool operator==(const AdapterFile&, const AdapterFile&) = default;
};

// In the place of a configured setting: each deployment or machine gives its own value.
struct GivenElsewhere {};
inline constexpr GivenElsewhere kGivenElsewhere;

struct ReplicaSettings {
  // A kind of engine/hosts.h: "model", or "echo", without a model.
  std::string kind = "model";
  std::string model_path;             // A GGUF file, or a folder with config.json and safetensors.
  std::string tokenizer_path;         // A folder with a tokenizer.json; empty: the model's own.
  std::vector<AdapterFile> adapters;  // Loaded with the model; the ranks know them as 1, 2, …
  // The limit of adapters, now and later; 0: what the kernels take.
  uint32_t adapter_rank_max = 0;
  std::string draft_model_path;     // Guesses come from it; empty: from the text so far.
  uint32_t speculative_tokens = 0;  // Guessed ahead per step and sequence; 0: none.
  uint64_t swap_bytes = 0;          // Host memory for the KV of those preempted; 0: recompute.
  std::string repack_folder;        // Where repacked weights are kept; empty: nowhere.
  uint32_t offload_layers = 0;      // The last layers of a rank that stay in the packed file.
  bool stream_weights = false;      // All layers stay there.
  uint32_t tensor_parallel_size = 1;
  std::vector<double> tensor_split;  // The share of each tensor-parallel rank; empty: equal ones.
  uint32_t pipeline_parallel_size = 1;
  PipelineSplit pipeline_split = PipelineSplit::kBalanced;
  uint32_t pipeline_micro_batches = 0;  // 0: as many as stages.
  uint32_t expert_parallel_size = 1;
  ExecutorBackend distributed_executor_backend = ExecutorBackend::kUni;
  uint32_t distributed_timeout_seconds = 60;  // The longest wait of a rank for one elsewhere.
  uint32_t model_len_max = 0;    // Tokens; 0: the model's, capped to what the KV holds.
  uint32_t sequences_max = 0;    // 0: chosen by the engine.
  uint32_t step_tokens_max = 0;  // 0: chosen by the engine.
  uint32_t block_tokens = 16;    // Tokens of one KV block.
  double memory_utilization = 0.9;
  uint64_t kv_tokens_max = 0;  // The limit of the KV cache; 0: what the memory gives.
  KvType kv_dtype = KvType::kF16;
  bool prefix_caching = true;
  uint32_t executor_depth = 1;  // Steps in flight.

  // Calls field(name in frames, member, setting of `engine` that it comes from) for each member.
  static constexpr void fields(auto&& field) {
    using S = ReplicaSettings;
    using C = config::EngineConfig;
    field("kind", &S::kind, kGivenElsewhere);
    field("model_path", &S::model_path, kGivenElsewhere);
    field("tokenizer_path", &S::tokenizer_path, kGivenElsewhere);
    field("adapters", &S::adapters, kGivenElsewhere);
    field("adapter_rank_max", &S::adapter_rank_max, &C::max_lora_rank);
    field("draft_model_path", &S::draft_model_path, kGivenElsewhere);
    field("speculative_tokens", &S::speculative_tokens, &C::speculative_tokens);
    field("swap_bytes", &S::swap_bytes, &C::swap_bytes);
    field("repack_folder", &S::repack_folder, kGivenElsewhere);
    field("offload_layers", &S::offload_layers, &C::offload_layers);
    field("stream_weights", &S::stream_weights, &C::stream_weights);
    field("tensor_parallel_size", &S::tensor_parallel_size, &C::tensor_parallel_size);
    field("tensor_split", &S::tensor_split, &C::tensor_split);
    field("pipeline_parallel_size", &S::pipeline_parallel_size, &C::pipeline_parallel_size);
    field("pipeline_split", &S::pipeline_split, &C::pipeline_split);
    field("pipeline_micro_batches", &S::pipeline_micro_batches, &C::pipeline_micro_batches);
    field("expert_parallel_size", &S::expert_parallel_size, &C::expert_parallel_size);
    field("distributed_executor_backend", &S::distributed_executor_backend,
          &C::distributed_executor_backend);
    field("distributed_timeout_seconds", &S::distributed_timeout_seconds,
          &C::distributed_timeout_seconds);
    field("model_len_max", &S::model_len_max, &C::max_model_len);
    field("sequences_max", &S::sequences_max, &C::max_sequences);
    field("step_tokens_max", &S::step_tokens_max, &C::step_tokens_max);
    field("block_tokens", &S::block_tokens, &C::kv_block_tokens);
    field("memory_utilization", &S::memory_utilization, &C::gpu_memory_utilization);
    field("kv_tokens_max", &S::kv_tokens_max, &C::kv_tokens_max);
    field("kv_dtype", &S::kv_dtype, &C::kv_dtype);
    field("prefix_caching", &S::prefix_caching, &C::enable_prefix_caching);
    field("executor_depth", &S::executor_depth, &C::executor_depth);
  }
};
static_assert(fields_complete<ReplicaSettings>(), "describe every member in fields()");

// Every row's value as `config` has it; a row that is given elsewhere keeps its default.
template <class Settings, class Config>
Settings settings_of(const Config& config) {
  Settings out;
  Settings::fields([&](const char*, auto member, auto configured) {
    if constexpr (!std::is_same_v<decltype(configured), GivenElsewhere>) {
      using Value = std::remove_reference_t<decltype(out.*member)>;
      out.*member = static_cast<Value>(config.*configured);
    }
  });
  return out;
}

}  // namespace altlas::replica
