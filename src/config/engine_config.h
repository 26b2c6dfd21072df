// Section `engine`: how a replica computes, unless its deployment says otherwise.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/field.h"
#include "config/names.h"

namespace altlas::config {

struct EngineConfig {
  std::string devices;
  int64_t tensor_parallel_size = 1;
  int64_t pipeline_parallel_size = 1;
  PipelineSplit pipeline_split = PipelineSplit::kBalanced;
  int64_t pipeline_micro_batches = 0;
  int64_t expert_parallel_size = 1;
  std::vector<double> tensor_split;
  double gpu_memory_utilization = 0.9;
  int64_t max_model_len = 0;
  WeightType dtype = WeightType::kAuto;
  KvType kv_dtype = KvType::kF16;
  int64_t kv_block_tokens = 16;
  int64_t kv_tokens_max = 0;
  int64_t swap_bytes = 0;
  int64_t offload_layers = 0;
  bool stream_weights = false;
  int64_t step_tokens_max = 512;
  int64_t max_sequences = 64;
  bool enable_prefix_caching = true;
  int64_t executor_depth = 1;
  int64_t speculative_tokens = 0;
  std::string draft_model;
  std::map<std::string, std::string> lora_modules;
  std::vector<std::string> lora_folders;
  int64_t max_loras = 32;
  int64_t max_lora_rank = 256;
  ToolCallParser tool_call_parser = ToolCallParser::kAuto;
  ExecutorBackend distributed_executor_backend = ExecutorBackend::kUni;
  int64_t distributed_timeout_seconds = 60;
  bool in_process_workers = false;
  bool repack_cache = true;
  std::string simd;

  static constexpr void fields(auto&& field) {
    layout_fields(field);
    memory_fields(field);
    step_fields(field);
    adapter_fields(field);
  }

 private:
  static constexpr void layout_fields(auto& field) {
    using S = EngineConfig;
    field("devices", &S::devices,
          FieldInfo{.help = "Devices: cpu, cpu:2, cpu:2:1:4GiB, cuda, cuda:0,2, sim:a100-80gb:8, "
                            "joined by '+'; empty is cpu. "
                            "This build computes on cpu and sim."});
    field("tensor_parallel_size", &S::tensor_parallel_size,
          FieldInfo{.help = "Ranks that share every layer.", .min = 1, .max = 1024});
    field("pipeline_parallel_size", &S::pipeline_parallel_size,
          FieldInfo{.help = "Stages that the layers are cut into.", .min = 1, .max = 1024});
    field("pipeline_split", &S::pipeline_split,
          FieldInfo{.help = "How layers are cut into stages: balanced, by what they and the head "
                            "cost; even, layers / stages each, the rest to the last."});
    field("pipeline_micro_batches", &S::pipeline_micro_batches,
          FieldInfo{
              .help = "Micro batches in the pipeline; 0 is one per stage.", .min = 0, .max = 16});
    field("expert_parallel_size", &S::expert_parallel_size,
          FieldInfo{.help = "Groups of a stage's ranks that experts are spread over; it divides "
                            "tensor_parallel_size.",
                    .min = 1,
                    .max = 1024});
    field(
        "tensor_split", &S::tensor_split,
        FieldInfo{.help = "Share of the model that each tensor-parallel rank holds, as 3,1; empty "
                          "is even.",
                  .min = 0.001,
                  .max = 1000,
                  .old_name = "tensor_parallel_shares"});
    field("distributed_executor_backend", &S::distributed_executor_backend,
          FieldInfo{.help = "Processes of a replica's ranks: uni, one for all; mp, one each, which "
                            "share memory."});
    field("distributed_timeout_seconds", &S::distributed_timeout_seconds,
          FieldInfo{.help = "A rank that another process has waited for so long in a step fails "
                            "the replica.",
                    .unit = "seconds",
                    .min = 1,
                    .max = 86400});
    field("in_process_workers", &S::in_process_workers,
          FieldInfo{.help = "Compute in the server's process: lowest latency, but a crash takes "
                            "the server along."});
    field("simd", &S::simd,
          FieldInfo{.help = "Instruction set of the CPU kernels (scalar, avx2, avx_vnni, "
                            "avx512_vnni, amx, neon, neon_dotprod: all the same bits; avx512_bf16, "
                            "amx_bf16: other bits for BF16 weights); empty takes the best of the "
                            "same bits, amx only when named."});
  }
  static constexpr void memory_fields(auto& field) {
    using S = EngineConfig;
    field("gpu_memory_utilization", &S::gpu_memory_utilization,
          FieldInfo{.help = "Share of a device's memory that may be used.", .min = 0.01, .max = 1});
    field("max_model_len", &S::max_model_len,
          FieldInfo{
              .help =
                  "Prompt and answer at most; 0 is the model's, capped to what the KV cache holds.",
              .unit = "tokens",
              .min = 0,
              .max = 1 << 27});
    field(
        "dtype", &S::dtype,
        FieldInfo{
            .help = "Type that the file's weights must have, as they are not converted; auto takes "
                    "any."});
    field("kv_dtype", &S::kv_dtype, FieldInfo{.help = "Type of the KV cache."});
    field("kv_block_tokens", &S::kv_block_tokens,
          FieldInfo{.help = "Tokens of one KV block.", .unit = "tokens", .min = 1, .max = 1024});
    field("kv_tokens_max", &S::kv_tokens_max,
          FieldInfo{.help = "Tokens of the KV cache at most; 0 is what the memory gives.",
                    .unit = "tokens",
                    .min = 0,
                    .max = 1 << 30});
    field("swap_bytes", &S::swap_bytes,
          FieldInfo{.help = "Host memory for preempted KV blocks; 0 recomputes.",
                    .unit = "bytes",
                    .min = 0,
                    .form = Form::kBytes});
    field("offload_layers", &S::offload_layers,
          FieldInfo{.help = "Layers of each rank, its last ones, whose weights stay in the packed "
                            "file and are read ahead of their turn, around three at once.",
                    .unit = "layers",
                    .min = 0,
                    .max = 65536});
    field(
        "stream_weights", &S::stream_weights,
        FieldInfo{.help = "As offload_layers for all layers: for models larger than the memory."});
    field("repack_cache", &S::repack_cache,
          FieldInfo{.help = "Keep repacked weights on disk for the next start."});
  }
  static constexpr void step_fields(auto& field) {
    using S = EngineConfig;
    field("step_tokens_max", &S::step_tokens_max,
          FieldInfo{.help = "Token budget of one forward step.",
                    .unit = "tokens",
                    .min = 1,
                    .max = 1 << 20});
    field(
        "max_sequences", &S::max_sequences,
        FieldInfo{
            .help = "Sequences in one step at most.", .unit = "sequences", .min = 1, .max = 65536});
    field("enable_prefix_caching", &S::enable_prefix_caching,
          FieldInfo{.help = "Reuse the KV blocks of a prefix seen before."});
    field("executor_depth", &S::executor_depth,
          FieldInfo{.help = "Steps in flight; more than 1 overlaps planning with computing.",
                    .unit = "steps",
                    .min = 1,
                    .max = 16});
    field(
        "speculative_tokens", &S::speculative_tokens,
        FieldInfo{
            .help =
                "Tokens guessed ahead per step (prompt lookup or the draft model); 0 guesses none.",
            .unit = "tokens",
            .min = 0,
            .max = 64});
    field("draft_model", &S::draft_model,
          FieldInfo{.help = "Small model of the same vocabulary that guesses for the default "
                            "model; empty guesses from the text so far."});
  }
  static constexpr void adapter_fields(auto& field) {
    using S = EngineConfig;
    field("lora_modules", &S::lora_modules,
          FieldInfo{.help = "LoRA adapters of the default model: the name that requests give as "
                            "model, and a GGUF file or a PEFT folder."});
    field(
        "lora_folders", &S::lora_folders,
        FieldInfo{.help = "Folders below which POST /v1/load_lora_adapter may load adapters; none "
                          "switches it off.",
                  .one_or_list = true});
    field("max_loras", &S::max_loras,
          FieldInfo{.help = "LoRA adapters of one deployment at most.",
                    .unit = "adapters",
                    .min = 1,
                    .max = 256});
    field("max_lora_rank", &S::max_lora_rank,
          FieldInfo{.help = "Rank of a LoRA adapter at most.", .min = 1, .max = 512});
    field("tool_call_parser", &S::tool_call_parser,
          FieldInfo{.help = "The notation in which the model writes tool calls; auto is what its "
                            "chat template shows."});
  }
};

}  // namespace altlas::config
