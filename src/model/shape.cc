#include "model/shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/integers.h"
#include "base/units.h"
#include "config/names.h"
#include "model/encoder.h"
#include "model/rank_group.h"

namespace altlas::model {
namespace {

DType dtype_of(KvType type) {
  switch (type) {
    case KvType::kF16:
      return DType::kF16;
    case KvType::kBf16:
      return DType::kBF16;
    case KvType::kF32:
      return DType::kF32;
    case KvType::kQ8_0:
      return DType::kQ8_0;
  }
  return DType::kF16;
}

Result<void> check_options(const LoadOptions& options) {
  if (options.block_tokens == 0 || options.block_tokens > 1024 ||
      options.block_tokens % ops::kKvGroup != 0)
    return invalid(fmt::format("kv_block_tokens is {}: on cpu a multiple of {} up to 1024",
                               options.block_tokens, ops::kKvGroup),
                   "kv_block_tokens");
  if (!(options.memory_utilization > 0 && options.memory_utilization <= 1))
    return invalid("gpu_memory_utilization lies between 0 and 1", "gpu_memory_utilization");
  if (options.sequences_max > kSequencesMax)
    return invalid(fmt::format("max_sequences is at most {}", kSequencesMax), "max_sequences");
  if (options.step_tokens_max > kStepTokensMax)
    return invalid(fmt::format("step_tokens_max is at most {}", kStepTokensMax), "step_tokens_max");
  return {};
}

Error does_not_fit(const ReplicaShape& shape, uint64_t memory_bytes, double utilization,
                   uint64_t kv_tokens) {
  const uint64_t kv = ceil_div(kv_tokens, shape.block_tokens) * shape.block_bytes;
  return invalid(
      fmt::format(
          "the model does not fit: weights {} + activations {} + KV of {} tokens {} = {}, but "
          "{:.0f} % of the "
          "device's {} are {}; give the device more memory, or lower max_model_len or "
          "step_tokens_max",
          format_bytes(shape.weight_bytes), format_bytes(shape.activation_bytes), kv_tokens,
          format_bytes(kv), format_bytes(shape.weight_bytes + shape.activation_bytes + kv),
          utilization * 100, format_bytes(memory_bytes),
          format_bytes(static_cast<uint64_t>(static_cast<double>(memory_bytes) * utilization))),
      "memory");
}

// Sets the groups' blocks and model_len_max by the memory that is left.
Result<void> size_kv(const LoadOptions& options, uint64_t memory_bytes, RankPlan& plan) {
  ReplicaShape& shape = plan.shape;
  const auto usable =
      static_cast<uint64_t>(static_cast<double>(memory_bytes) * options.memory_utilization);
  const uint64_t fixed = shape.weight_bytes + shape.activation_bytes;
  const uint32_t wanted_len =
      options.model_len_max == 0 ? plan.config.context_length : options.model_len_max;
  if (wanted_len > plan.config.context_length)
    return invalid(fmt::format("max_model_len is {}: this model's context is {}", wanted_len,
                               plan.config.context_length),
                   "max_model_len");
  const uint32_t needed_len = options.model_len_max == 0 ? shape.block_tokens : wanted_len;
  const uint64_t blocks_there = fixed >= usable ? 0 : (usable - fixed) / shape.block_bytes;
  const uint64_t tokens_wanted = options.kv_tokens_max != 0
                                     ? options.kv_tokens_max
                                     : uint64_t{shape.sequences_max} * wanted_len;
  if (tokens_wanted < needed_len)
    return invalid(
        fmt::format("kv_tokens_max is {}: one sequence needs {}", tokens_wanted, needed_len),
        "kv_tokens_max");
  const uint64_t blocks_wanted = ceil_div(tokens_wanted, shape.block_tokens);
  const auto blocks = static_cast<uint32_t>(std::min(
      {blocks_there, blocks_wanted, uint64_t{UINT32_MAX / 2}, uint64_t{options.kv_blocks_max}}));
  if (uint64_t{blocks} * shape.block_tokens < needed_len)
    return does_not_fit(shape, memory_bytes, options.memory_utilization, needed_len);
  shape.model_len_max =
      static_cast<uint32_t>(std::min<uint64_t>(wanted_len, uint64_t{blocks} * shape.block_tokens));
  for (KvGroup& group : plan.groups) group.blocks = blocks;
  for (kv::GroupSpec& group : shape.groups) group.blocks = blocks;
  if (plan.draft)
    for (KvGroup& group : plan.draft->groups) group.blocks = blocks;
  return {};
}

// The activations of a step, in whole pages. threads: of the rank's team.
Result<void> plan_activations(const LoadOptions& options, const DecoderWeights& weights,
                              uint32_t threads, RankPlan& plan) {
  const ReplicaShape& shape = plan.shape;
  const uint32_t ranks = options.shard.tp_size;
  const StageLink* link = options.group ? options.group->link() : nullptr;
  const bool splits = link != nullptr && link->splits();
  if (splits && plan.config.experts.count > 0)
    return Error(ErrorCode::kUnsupported,
                 "a mixture-of-experts model whose tensor-parallel ranks are in several workers: "
                 "use distributed_executor_backend uni, or pipeline_parallel_size across workers");
  if (!shape.generates) {
    if (ranks > 1 || options.shard.pp_size > 1)
      return invalid(fmt::format("tensor_parallel_size is {} and pipeline_parallel_size {}: this "
                                 "model only gives embeddings, use 1, and num_replicas for more "
                                 "devices",
                                 ranks, options.shard.pp_size),
                     ranks > 1 ? "tensor_parallel_size" : "pipeline_parallel_size");
    plan.activation_bytes.own = whole_pages(Encoder::workspace_bytes(
        {plan.config, weights, plan.layout, shape.step_tokens_max}, threads));
    return {};
  }
  const DecoderPart part{plan.config, plan.shard, weights, plan.layout, shape.step_tokens_max};
  const uint32_t all = options.group ? options.group->threads() : threads * ranks;
  const Workspace<uint64_t> bytes = Decoder::workspace_bytes(
      part, {threads, all, options.executor_depth, splits ? link->processes() : 1});
  const uint64_t sharing = splits ? link->rank_count() : ranks;
  plan.activation_bytes = {whole_pages(bytes.own), whole_pages(ceil_div(bytes.shared, sharing))};
  return {};
}

// Adds the adapters and the draft model to the shape.
Result<void> plan_extras(const LoadOptions& options, uint32_t threads, RankPlan& plan) {
  ReplicaShape& shape = plan.shape;
  for (const replica::AdapterFile& file : options.adapters) {
    ALTLAS_TRY(CheckedAdapter adapter,
               CheckedAdapter::open(file.path, plan.config, options.adapter_rank_max));
    Arena arena;
    ALTLAS_TRY_VOID(adapter.lay_out(arena));
    plan.adapters.push_back(std::move(adapter));
    shape.weight_bytes += whole_pages(arena.used());
  }
  if (options.draft_model_path.empty()) return {};
  ALTLAS_TRY(plan.draft, plan_draft(options.draft_model_path,
                                    {.vocab_size = plan.config.vocab_size,
                                     .groups = plan.groups,
                                     .layout = plan.layout,
                                     .step_tokens_max = shape.step_tokens_max},
                                    threads));
  shape.draft_model = true;
  shape.weight_bytes += plan.draft->weight_bytes;
  shape.activation_bytes += plan.draft->activation_bytes.own + plan.draft->activation_bytes.shared;
  for (size_t g = 0; g < plan.draft->groups.size(); ++g) {
    const uint64_t bytes = plan.draft->groups[g].block_bytes(plan.draft->layout);
    shape.groups[g].block_bytes += bytes;
    shape.block_bytes += bytes;
  }
  return {};
}

}  // namespace

RankShard shard_of_rank(const replica::ReplicaSettings& settings, uint32_t rank) {
  return {.tp_rank = rank % settings.tensor_parallel_size,
          .tp_size = settings.tensor_parallel_size,
          .pp_rank = rank / settings.tensor_parallel_size,
          .pp_size = settings.pipeline_parallel_size,
          .ep_size = settings.expert_parallel_size,
          .tensor_split = settings.tensor_split,
          .pipeline_split = settings.pipeline_split};
}

Result<RankPlan> plan_rank(const ModelFile& file, const LoadOptions& options, uint64_t memory_bytes,
                           uint32_t threads) {
  ALTLAS_TRY_VOID(check_options(options));
  RankPlan plan;
  plan.config = file.config();
  ALTLAS_TRY(plan.shard, shard_plan(plan.config, options.shard));
  plan.layout = {.type = dtype_of(options.kv_dtype),
                 .block_tokens = options.block_tokens,
                 .kv_heads = plan.shard.kv_heads.size(),
                 .head_dim = plan.config.head_dim};
  plan.groups = kv_groups(plan.config, plan.shard.layers);
  Arena arena;
  ALTLAS_TRY(const DecoderWeights weights,
             lay_out_weights({file.tensors(), plan.config, plan.shard}, arena, nullptr, {}));
  ReplicaShape& shape = plan.shape;
  shape.sequences_max = options.sequences_max == 0 ? 64 : options.sequences_max;
  shape.step_tokens_max = options.step_tokens_max == 0 ? 512 : options.step_tokens_max;
  shape.block_tokens = options.block_tokens;
  shape.embedding_size = plan.config.hidden;
  shape.generates = !plan.config.architecture.encoder;
  // An encoder sees a whole text in one step.
  if (!shape.generates)
    shape.step_tokens_max = std::max(shape.step_tokens_max, plan.config.context_length);
  ALTLAS_TRY_VOID(plan_activations(options, weights, threads, plan));
  shape.activation_bytes = plan.activation_bytes.own + plan.activation_bytes.shared;
  shape.vocab_size = plan.config.vocab_size;
  shape.kv_type = plan.layout.type;
  shape.layer_count = plan.config.layer_count;
  shape.parameters = weights.parameters;
  shape.architecture = plan.config.architecture.name;
  for (const KvGroup& group : plan.groups) {
    shape.groups.push_back(kv::GroupSpec::attention(group.window, group.block_bytes(plan.layout)));
    shape.block_bytes += group.block_bytes(plan.layout);
  }
  // Buffers are whole pages.
  plan.stream = stream_plan(weights, plan.shard, options);
  plan.weight_bytes = {whole_pages(arena.used()),
                       whole_pages(arena.used() - plan.stream.saved_bytes())};
  shape.weight_bytes = plan.weight_bytes.booked;
  if (!shape.generates && (!options.adapters.empty() || !options.draft_model_path.empty()))
    return invalid(
        "this model only gives embeddings: LoRA adapters and draft models are not "
        "supported for it");
  if (!shape.generates && !plan.stream.layers.empty())
    return invalid("this model only gives embeddings: its weights are not offloaded",
                   options.stream_weights ? "stream_weights" : "offload_layers");
  ALTLAS_TRY_VOID(plan_extras(options, threads, plan));
  shape.swap_places = static_cast<uint32_t>(std::min<uint64_t>(
      {options.swap_bytes / shape.block_bytes, kSwapPlacesMax, options.swap_places_max}));
  ALTLAS_TRY_VOID(size_kv(options, memory_bytes > 8192 ? memory_bytes - 8192 : 0, plan));
  return plan;
}

Result<ReplicaShape> load_shape(const LoadOptions& options, uint64_t memory_bytes,
                                uint32_t threads) {
  ALTLAS_TRY(const ModelFile file, ModelFile::open(options.model_path));
  ALTLAS_TRY(const RankPlan plan, plan_rank(file, options, memory_bytes, threads));
  return plan.shape;
}

}  // namespace altlas::model
