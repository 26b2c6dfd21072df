#include "engine/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/hash.h"
#include "device/probe.h"
#include "device/spec.h"
#include "engine/cpu_executor.h"
#include "engine/sim_executor.h"
#include "engine/sim_shape.h"
#include "engine/tokenizer.h"
#include "ops/simd.h"

namespace altlas::engine {

namespace {

constexpr uint32_t kDepthMax = 16;  // Steps in flight.

}  // namespace

model::LoadOptions load_options(const LoadReplica& load, uint32_t rank) {
  model::LoadOptions options{load};
  if (load.speculative_tokens == 0) options.draft_model_path.clear();
  options.panels.folder = load.repack_folder;
  options.shard = model::shard_of_rank(load, rank);
  return options;
}

uint32_t micro_batches(const LoadReplica& load) {
  if (load.pipeline_parallel_size == 1) return 1;
  return load.pipeline_micro_batches == 0 ? std::min(load.pipeline_parallel_size, kDepthMax)
                                          : load.pipeline_micro_batches;
}

CoreOptions core_options(const LoadReplica& load) {
  CoreOptions options;
  options.model = std::filesystem::path(load.model_path).filename().string();
  options.prefix_caching = load.prefix_caching;
  options.cache_salt =
      Hasher().add(std::string_view(load.model_path)).add(to_string(load.kv_dtype)).value();
  options.speculative_tokens = load.speculative_tokens;
  for (const AdapterFile& adapter : load.adapters) options.adapters.push_back(adapter.name);
  return options;
}

namespace {

constexpr uint32_t kSpeculativeTokensMax = 64;
constexpr size_t kAdapterNameBytesMax = 200;

Result<std::vector<device::DeviceSpec>> devices_of(const LoadReplica& load) {
  const device::MachineFacts machine = device::probe_machine();
  std::vector<device::DeviceSpec> devices;
  for (const RankPlace& rank : load.ranks) {
    ALTLAS_TRY(auto parsed, device::parse_device_spec(rank.device_spec, machine));
    if (parsed.size() != 1)
      return invalid(
          fmt::format("'{}' names {} devices: a rank has one", rank.device_spec, parsed.size()),
          "devices");
    devices.push_back(std::move(parsed.front()));
    devices.back().cpu_first = rank.cpu_first;
    if (devices.back().kind != devices.front().kind || devices.back().name != devices.front().name)
      return Error(ErrorCode::kUnsupported,
                   fmt::format("'{}' and '{}': the devices of one replica are of one kind",
                               load.ranks.front().device_spec, rank.device_spec));
  }
  if (devices.empty()) return invalid("a replica has at least one rank", "ranks");
  for (const RankPlace& rank : load.ranks)
    if (rank.node != load.ranks.front().node)
      return Error(ErrorCode::kUnsupported,
                   "a replica's ranks are on one machine in this build, in one worker or several");
  if (load.workers() > 1 && devices.front().kind != device::DeviceKind::kCpu)
    return Error(ErrorCode::kUnsupported,
                 "distributed_executor_backend mp is for cpu devices in this build; use uni");
  return devices;
}

Result<void> check_adapters(const LoadReplica& load) {
  if (load.adapters.size() > kAdaptersMax)
    return invalid(fmt::format("{} LoRA adapters; at most {} are possible", load.adapters.size(),
                               kAdaptersMax),
                   "lora_modules");
  for (size_t i = 0; i < load.adapters.size(); ++i) {
    const std::string& name = load.adapters[i].name;
    if (name.empty() || name.size() > kAdapterNameBytesMax)
      return invalid(fmt::format("a LoRA adapter's name has 1 to {} bytes", kAdapterNameBytesMax),
                     "lora_modules");
    for (size_t j = 0; j < i; ++j)
      if (load.adapters[j].name == name)
        return invalid(fmt::format("two LoRA adapters are called '{}'", name), "lora_modules");
  }
  return {};
}

// A draft model must spell its tokens as the model does.
Result<void> check_draft(const LoadReplica& load, const text::Tokenizer& tokenizer) {
  if (load.speculative_tokens == 0 || load.draft_model_path.empty()) return {};
  ALTLAS_TRY(const auto draft, open_detokenizer(load.draft_model_path));
  const auto differ = [&](const std::string& how) {
    return invalid(fmt::format("draft model '{}': {}; it must have the model's own vocabulary",
                               load.draft_model_path.substr(0, 300), how),
                   "draft_model");
  };
  if (draft->vocab_size() != tokenizer.vocab_size())
    return differ(
        fmt::format("{} tokens, the model has {}", draft->vocab_size(), tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (draft->token_bytes(id) != tokenizer.token_bytes(id))
      return differ(fmt::format("token {} is another one", id));
  return {};
}

// A tokenizer from elsewhere must not have tokens that the model does not know.
Result<void> check_tokenizer(const LoadReplica& load, const text::Tokenizer& tokenizer,
                             const ReplicaLimits& limits) {
  const auto tokens = static_cast<uint32_t>(tokenizer.vocab_size());
  if (load.tokenizer_path.empty() || limits.vocab_size == 0 || tokens <= limits.vocab_size)
    return {};
  return invalid(fmt::format("models.tokenizer: '{}' has {} tokens, the model has {}: it is "
                             "another model's tokenizer",
                             load.tokenizer_path, tokens, limits.vocab_size),
                 "models.tokenizer");
}

Result<void> check(const LoadReplica& load) {
  if (load.executor_depth < 1 || load.executor_depth > kDepthMax) {
    return invalid(
        fmt::format("executor_depth {}; 1 to {} are possible", load.executor_depth, kDepthMax),
        "executor_depth");
  }
  if (load.block_tokens < 1 || load.block_tokens > 1024) {
    return invalid(fmt::format("kv_block_tokens {}; 1 to 1024 are possible", load.block_tokens),
                   "kv_block_tokens");
  }
  if (load.speculative_tokens > kSpeculativeTokensMax)
    return invalid(fmt::format("speculative_tokens {}; at most {} are possible",
                               load.speculative_tokens, kSpeculativeTokensMax),
                   "speculative_tokens");
  if (micro_batches(load) > kDepthMax)
    return invalid(fmt::format("{} micro batches for {} stages; at most {} are possible",
                               micro_batches(load), load.pipeline_parallel_size, kDepthMax),
                   "pipeline_micro_batches");
  if (load.speculative_tokens > 0 && load.executor_depth > 1)
    return invalid(
        fmt::format("speculative_tokens needs executor_depth 1, it is {}: guesses follow "
                    "tokens that are known",
                    load.executor_depth),
        "executor_depth");
  ALTLAS_TRY_VOID(check_adapters(load));
  if (!(load.memory_utilization > 0 && load.memory_utilization <= 1)) {
    return invalid(
        fmt::format("gpu_memory_utilization {}; above 0, at most 1", load.memory_utilization),
        "gpu_memory_utilization");
  }
  if (load.tensor_parallel_size < 1 || load.pipeline_parallel_size < 1 ||
      load.tensor_parallel_size > 1024 || load.pipeline_parallel_size > 1024) {
    return invalid("tensor_parallel_size and pipeline_parallel_size are 1 to 1024",
                   "tensor_parallel_size");
  }
  return {};
}

// Steps in flight of the ranks of a replica on cpu devices.
uint32_t depth_of(const LoadReplica& load) {
  return std::max(load.executor_depth, micro_batches(load));
}

// end_of_generation: the tokenizer's; planning needs none.
std::vector<CpuRankOptions> cpu_ranks(const LoadReplica& load,
                                      const std::vector<device::DeviceSpec>& devices,
                                      const std::vector<int32_t>& end_of_generation) {
  std::vector<CpuRankOptions> ranks;
  for (size_t i = 0; i < devices.size(); ++i) {
    CpuRankOptions rank;
    rank.device = devices[i];
    rank.device_id = DeviceId{static_cast<int32_t>(load.ranks[i].device_id)};
    rank.load = load_options(load, static_cast<uint32_t>(i));
    rank.load.executor_depth = depth_of(load);
    rank.load.end_of_generation = end_of_generation;
    ranks.push_back(std::move(rank));
  }
  return ranks;
}

// Where the ranks are; nothing to say where one worker has them all.
RankWorkers workers_of(const LoadReplica& load, std::vector<model::StageLinkOptions> links) {
  if (load.workers() == 1) return {};
  return {.workers = load.rank_workers(), .own = load.worker, .links = std::move(links)};
}

Result<std::unique_ptr<CpuExecutor>> open_cpu(const LoadReplica& load,
                                              const std::vector<device::DeviceSpec>& devices,
                                              const text::Tokenizer& tokenizer,
                                              const LoadProgressSink& progress,
                                              std::vector<model::StageLinkOptions> links) {
  const auto say = [&](std::string_view phase, double fraction) {
    if (progress) progress(LoadProgress{std::string(phase), fraction});
  };
  return CpuExecutor::open(cpu_ranks(load, devices, tokenizer.end_of_generation()), depth_of(load),
                           say, workers_of(load, std::move(links)));
}

Result<std::unique_ptr<const text::Tokenizer>> open_tokenizer(const LoadReplica& load,
                                                              const LoadProgressSink& progress) {
  if (progress) progress(LoadProgress{"tokenizer", 0});
  return open_detokenizer(load.tokenizer_path.empty() ? load.model_path : load.tokenizer_path);
}

Result<SimOptions> sim_options(const LoadReplica& load,
                               const std::vector<device::DeviceSpec>& devices) {
  SimOptions options;
  ALTLAS_TRY(options.kind, device_kind(devices.front().name));
  ALTLAS_TRY(options.shape, read_sim_shape(load.model_path));
  ALTLAS_TRY_VOID(model::check_expert_groups(options.shape.experts, load.tensor_parallel_size,
                                             load.expert_parallel_size));
  options.kind.memory_bytes = devices.front().memory_bytes;
  options.device_count = static_cast<uint32_t>(devices.size());
  options.layout.tensor_parallel_size = static_cast<int32_t>(load.tensor_parallel_size);
  options.layout.pipeline_parallel_size = static_cast<int32_t>(load.pipeline_parallel_size);
  options.layout.pipeline_micro_batches = static_cast<int32_t>(load.pipeline_micro_batches);
  options.layout.expert_parallel_size = static_cast<int32_t>(load.expert_parallel_size);
  options.sequences_max = load.sequences_max;
  options.step_tokens_max = load.step_tokens_max;
  options.model_len_max = load.model_len_max;
  options.block_tokens = load.block_tokens;
  options.kv_value_bytes = load.kv_dtype == KvType::kF32    ? 4
                           : load.kv_dtype == KvType::kQ8_0 ? 1
                                                            : 2;
  options.kv_tokens_max = load.kv_tokens_max;
  options.memory_utilization = load.memory_utilization;
  options.depth = load.executor_depth;
  options.swap_bytes = load.swap_bytes;
  options.draft_model = !load.draft_model_path.empty();
  options.streamed_layers =
      load.stream_weights
          ? options.shape.layers
          : std::min(options.shape.layers, load.offload_layers * load.pipeline_parallel_size);
  return options;
}

Result<std::unique_ptr<Executor>> open_sim(const LoadReplica& load,
                                           const std::vector<device::DeviceSpec>& devices,
                                           const text::Tokenizer* tokenizer) {
  ALTLAS_TRY(const SimOptions options, sim_options(load, devices));
  ALTLAS_TRY(auto executor,
             SimExecutor::create(options, tokenizer, SimTime::kReal, system_clock()));
  for (size_t i = 0; i < load.adapters.size(); ++i)
    ALTLAS_TRY_VOID(executor->load_adapter(static_cast<uint32_t>(i + 1), load.adapters[i].path));
  return std::unique_ptr<Executor>(std::move(executor));
}

Error no_cuda() {
  return Error(ErrorCode::kUnsupported,
               "cuda devices can't run models in this build; use cpu or sim:KIND");
}

}  // namespace

Result<ReplicaLimits> plan_replica(const LoadReplica& load, uint64_t memory_bytes) {
  ALTLAS_TRY_VOID(check(load));
  ALTLAS_TRY(auto devices, devices_of(load));
  if (memory_bytes > 0)
    for (device::DeviceSpec& device : devices) device.memory_bytes = memory_bytes;
  if (devices.front().kind == device::DeviceKind::kCuda) return no_cuda();
  if (devices.front().kind == device::DeviceKind::kCpu)
    return CpuExecutor::plan(cpu_ranks(load, devices, {}), depth_of(load), workers_of(load, {}));
  ALTLAS_TRY(const SimOptions options, sim_options(load, devices));
  return sim_limits(options);
}

Result<std::unique_ptr<LoadedReplica>> load_replica(const LoadReplica& load,
                                                    const LoadProgressSink& progress) {
  if (load.workers() > 1)
    return Error(ErrorCode::kUnsupported,
                 "a replica of several workers needs worker processes that find each other");
  return load_leading(load, progress, {});
}

Result<std::unique_ptr<CpuExecutor>> load_ranks(const LoadReplica& load,
                                                const LoadProgressSink& progress,
                                                std::vector<model::StageLinkOptions> links) {
  ALTLAS_TRY_VOID(check(load));
  ALTLAS_TRY(const auto devices, devices_of(load));
  ALTLAS_TRY(const auto tokenizer, open_tokenizer(load, progress));
  return open_cpu(load, devices, *tokenizer, progress, std::move(links));
}

Result<std::unique_ptr<LoadedReplica>> load_leading(const LoadReplica& load,
                                                    const LoadProgressSink& progress,
                                                    LeadOptions options) {
  ALTLAS_TRY_VOID(check(load));
  auto loaded = std::make_unique<LoadedReplica>();
  ALTLAS_TRY(const auto devices, devices_of(load));
  ALTLAS_TRY(loaded->tokenizer, open_tokenizer(load, progress));
  ALTLAS_TRY_VOID(check_draft(load, *loaded->tokenizer));
  switch (devices.front().kind) {
    case device::DeviceKind::kCpu: {
      ALTLAS_TRY(auto own,
                 open_cpu(load, devices, *loaded->tokenizer, progress, std::move(options.links)));
      if (options.lead)
        loaded->executor = options.lead(std::move(own));
      else
        loaded->executor = std::move(own);
      loaded->simd = std::string(ops::to_string(ops::simd_target()));
      break;
    }
    case device::DeviceKind::kSim: {
      ALTLAS_TRY(loaded->executor, open_sim(load, devices, loaded->tokenizer.get()));
      break;
    }
    case device::DeviceKind::kCuda:
      return no_cuda();
  }
  ALTLAS_TRY_VOID(check_tokenizer(load, *loaded->tokenizer, loaded->executor->limits()));
  CoreOptions core = core_options(load);
  // A simulated step is one of all micro batches.
  core.micro_batches = devices.front().kind == device::DeviceKind::kCpu ? micro_batches(load) : 1;
  loaded->core =
      std::make_unique<ReplicaCore>(loaded->executor->limits(), core, loaded->tokenizer.get());
  return loaded;
}

}  // namespace altlas::engine
