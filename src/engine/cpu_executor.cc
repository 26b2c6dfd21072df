#include "engine/cpu_executor.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "base/channel.h"
#include "base/check.h"
#include "device/cpu/cpu_device.h"
#include "model/rank_group.h"

namespace altlas::engine {

namespace {
constexpr size_t kProgressMax = 64;  // Waiting reports of loading; further ones are dropped.
constexpr auto kForever = std::chrono::hours(1);

struct Progressed {
  std::string phase;
  double fraction = 0;
};
using LoadEvent = std::variant<Progressed, Result<model::ReplicaShape>>;

}  // namespace

ReplicaLimits limits_of(std::span<const model::ReplicaShape> ranks) {
  ALTLAS_CHECK(!ranks.empty(), "a replica has ranks");
  ReplicaLimits limits = ranks.front();
  for (const model::ReplicaShape& rank : ranks) {
    ALTLAS_CHECK(rank.groups.size() == limits.groups.size(), "all ranks know all groups");
    replica::RankMemory& memory = limits.ranks.emplace_back(
        replica::RankMemory{rank.weight_bytes, rank.activation_bytes, {}});
    for (size_t g = 0; g < rank.groups.size(); ++g) {
      const bool state = rank.groups[g].kind == kv::GroupKind::kState;
      memory.blocks.push_back(state ? 0 : rank.groups[g].block_bytes);
      kv::GroupSpec& group = limits.groups[g];
      group.blocks = std::min(group.blocks, rank.groups[g].blocks);
      group.block_bytes = std::max(group.block_bytes, rank.groups[g].block_bytes);
    }
    limits.model_len_max = std::min(limits.model_len_max, rank.model_len_max);
    limits.swap_places = std::min(limits.swap_places, rank.swap_places);
  }
  // Only the ratio of the two matters: a core copies some 4 GB/s and computes some 5e11
  // operations/s.
  limits.swap_block_ns = limits.block_bytes() / 4;
  limits.prefill_token_ns = ranks.front().parameters * 2 / 500 / ranks.size() + 1;
  return limits;
}

namespace {

// The ranks of a worker in each stage are a group, which hands its hidden states to the next one's.
void form_groups(std::vector<CpuRankOptions>& ranks, uint32_t depth, uint32_t worker,
                 const RankWorkers& places) {
  const size_t stages = ranks.front().load.shard.pp_size, size = ranks.front().load.shard.tp_size;
  ALTLAS_CHECK(ranks.size() == stages * size, "a rank for each place in the layout");
  std::shared_ptr<model::RankGroup> next;
  for (size_t stage = stages; stage-- > 0;) {
    const auto whole = std::span(ranks).subspan(stage * size, size);
    std::shared_ptr<model::StageLink> link;
    std::vector<CpuRankOptions*> own;
    std::vector<uint32_t> threads;
    for (size_t r = 0; r < size; ++r) {
      if (!places.workers.empty() && places.workers[stage * size + r] != worker) continue;
      own.push_back(&whole[r]);
      threads.push_back(whole[r].device.threads);
    }
    if (own.empty()) {
      next = nullptr;
      continue;
    }
    if (!places.workers.empty()) {
      model::StageLinkOptions options;
      if (worker == places.own && !places.links.empty()) options = places.links[stage];
      const auto workers = std::span(places.workers).subspan(stage * size, size);
      options.workers.assign(workers.begin(), workers.end());
      options.worker = worker;
      link = std::make_shared<model::StageLink>(std::move(options));
    }
    next = std::make_shared<model::RankGroup>(threads, next, depth, std::move(link));
    for (CpuRankOptions* rank : own) rank->load.group = next;
  }
}

void form_all_groups(std::vector<CpuRankOptions>& ranks, uint32_t depth,
                     const RankWorkers& places) {
  if (ranks.size() == 1) return;
  if (places.workers.empty()) return form_groups(ranks, depth, 0, places);
  ALTLAS_CHECK(places.workers.size() == ranks.size(), "a worker for each rank");
  const uint32_t last = *std::ranges::max_element(places.workers);
  for (uint32_t worker = 0; worker <= last; ++worker) form_groups(ranks, depth, worker, places);
}

// Plans what each rank will hold.
Result<std::vector<model::ReplicaShape>> plan_ranks(std::span<const CpuRankOptions> ranks) {
  std::vector<model::ReplicaShape> shapes;
  for (const CpuRankOptions& rank : ranks) {
    ALTLAS_TRY(model::ReplicaShape shape,
               model::load_shape(rank.load, rank.device.memory_bytes, rank.device.threads));
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

}  // namespace

// The thread of one rank. Plans and results pass through bounded channels; the device and the rank
// belong to this thread alone.
class CpuExecutor::RankThread {
 public:
  RankThread(CpuRankOptions options, uint32_t depth)
      : loading_(kProgressMax + 1),
        plans_(depth),
        results_(depth + 1),
        thread_([this, o = std::move(options)]() mutable { run(std::move(o)); }) {}
  ~RankThread() {
    plans_.close();
    thread_.join();
  }

  // The loaded rank, for its adapters only. It lives as long as this object.
  model::Rank& rank() { return *rank_; }
  // Once the rank is loaded.
  device::MemoryUse memory_use() const { return device_->memory_use(); }
  // Waits until the rank is loaded.
  Result<model::ReplicaShape> wait_loaded(const Progress& progress) {
    for (;;) {
      for (LoadEvent& event : loading_.wait_drain(kForever)) {
        if (auto* done = std::get_if<Result<model::ReplicaShape>>(&event)) return std::move(*done);
        const auto& progressed = std::get<Progressed>(event);
        if (progress) progress(progressed.phase, progressed.fraction);
      }
    }
  }
  void send(std::shared_ptr<const StepPlan> plan) {
    ALTLAS_CHECK(plans_.try_send(std::move(plan)), "at most depth() plans wait");
  }
  Result<StepResult> receive() {
    while (received_.empty()) {
      for (Result<StepResult>& result : results_.wait_drain(kForever))
        received_.push_back(std::move(result));
    }
    Result<StepResult> first = std::move(received_.front());
    received_.pop_front();
    return first;
  }

 private:
  void run(CpuRankOptions options) {
    device::CpuDevice device(options.device_id, options.device);
    options.load.progress = [this](std::string_view phase, double fraction) {
      if (loading_.size() < kProgressMax)
        static_cast<void>(loading_.try_send(Progressed{std::string(phase), fraction}));
    };
    Result<std::unique_ptr<model::Rank>> rank = model::load_rank(options.load, device);
    Result<model::ReplicaShape> shape = rank.ok() ? Result<model::ReplicaShape>((*rank)->shape())
                                                  : Result<model::ReplicaShape>(rank.error());
    if (rank.ok()) rank_ = rank->get();
    device_ = &device;
    ALTLAS_CHECK(loading_.try_send(LoadEvent(std::move(shape))),
                 "room for the last loading event is kept");
    if (!rank.ok()) return;
    while (true) {
      auto plans = plans_.wait_drain(kForever);
      if (plans.empty() && plans_.closed()) return;
      for (const auto& plan : plans) {
        if (plans_.closed()) return;
        ALTLAS_CHECK(results_.try_send((*rank)->run(*plan)), "at most depth() results wait");
      }
    }
  }

  Channel<LoadEvent> loading_;
  Channel<std::shared_ptr<const StepPlan>> plans_;
  Channel<Result<StepResult>> results_;
  std::deque<Result<StepResult>> received_;  // Only the leading thread uses it.
  // Both are set before the last loading event, and live as long as the thread.
  model::Rank* rank_ = nullptr;
  const device::Device* device_ = nullptr;
  std::thread thread_;  // The last member, since it uses the channels.
};

Result<std::unique_ptr<CpuExecutor>> CpuExecutor::open(std::vector<CpuRankOptions> options,
                                                       uint32_t depth, const Progress& progress,
                                                       const RankWorkers& workers) {
  ALTLAS_CHECK(!options.empty() && depth >= 1, "at least one rank, depth >= 1");
  form_all_groups(options, depth, workers);
  // All ranks are planned before any of them allocates: the one with the fewest blocks decides.
  ALTLAS_TRY(std::vector<model::ReplicaShape> shapes, plan_ranks(options));
  const ReplicaLimits planned = limits_of(shapes);
  const size_t answering = options.size() - options.front().load.shard.tp_size;
  size_t answers = SIZE_MAX;
  std::vector<std::unique_ptr<RankThread>> ranks;
  std::vector<size_t> own;  // The rank of the replica that each of `ranks` is.
  for (size_t r = 0; r < options.size(); ++r) {
    if (!workers.workers.empty() && workers.workers[r] != workers.own) continue;
    CpuRankOptions& rank = options[r];
    if (r == answering) answers = ranks.size();
    own.push_back(r);
    for (const kv::GroupSpec& group : planned.groups)
      rank.load.kv_blocks_max = std::min(rank.load.kv_blocks_max, group.blocks);
    rank.load.swap_places_max = planned.swap_places;
    ranks.push_back(std::make_unique<RankThread>(std::move(rank), depth));
  }
  ALTLAS_CHECK(!ranks.empty(), "a worker has ranks");
  std::optional<Error> error;
  for (size_t i = 0; i < ranks.size(); ++i) {
    Result<model::ReplicaShape> shape = ranks[i]->wait_loaded(i == 0 ? progress : Progress());
    if (!shape.ok() && !error) error = shape.error();
    if (shape.ok()) shapes[own[i]] = *std::move(shape);
  }
  if (error) return *error;
  // Ranks elsewhere take no more than was planned, as these do.
  for (model::ReplicaShape& shape : shapes) {
    for (size_t g = 0; g < shape.groups.size(); ++g)
      shape.groups[g].blocks = std::min(shape.groups[g].blocks, planned.groups[g].blocks);
    shape.swap_places = std::min(shape.swap_places, planned.swap_places);
  }
  return std::unique_ptr<CpuExecutor>(
      new CpuExecutor(std::move(ranks), answers, limits_of(shapes), depth));
}

Result<ReplicaLimits> CpuExecutor::plan(std::vector<CpuRankOptions> ranks, uint32_t depth,
                                        const RankWorkers& workers) {
  form_all_groups(ranks, depth, workers);
  ALTLAS_TRY(const std::vector<model::ReplicaShape> shapes, plan_ranks(ranks));
  return limits_of(shapes);
}

std::vector<device::MemoryUse> CpuExecutor::memory_use() const {
  std::vector<device::MemoryUse> out;
  for (const auto& rank : ranks_) out.push_back(rank->memory_use());
  return out;
}

CpuExecutor::CpuExecutor(std::vector<std::unique_ptr<RankThread>> ranks, size_t answers,
                         ReplicaLimits limits, uint32_t depth)
    : ranks_(std::move(ranks)),
      answers_(answers),
      limits_(std::move(limits)),
      depth_(static_cast<int>(depth)) {}

// A rank in a step waits for the others: none may leave before all have carried it out.
CpuExecutor::~CpuExecutor() {
  while (in_flight_ > 0) static_cast<void>(collect());
}

Result<uint64_t> CpuExecutor::load_adapter(uint32_t id, const std::string& path) {
  uint64_t bytes = 0;
  for (const auto& rank : ranks_) {
    const Result<uint64_t> own = rank->rank().load_adapter(id, path);
    if (!own.ok()) {
      drop_adapter(id);  // All ranks have it, or none.
      return own.error();
    }
    bytes = std::max(bytes, *own);
  }
  return bytes;
}

void CpuExecutor::drop_adapter(uint32_t id) {
  for (const auto& rank : ranks_) rank->rank().drop_adapter(id);
}

void CpuExecutor::launch(StepPlan plan) {
  ALTLAS_CHECK(in_flight_ < depth_, "at most depth() steps in flight");
  const auto shared = std::make_shared<const StepPlan>(std::move(plan));
  for (const auto& rank : ranks_) rank->send(shared);
  ++in_flight_;
}

Result<StepResult> CpuExecutor::collect() {
  ALTLAS_CHECK(in_flight_ > 0, "a step in flight");
  --in_flight_;
  std::optional<Error> error;
  std::optional<StepResult> answer;  // The first rank's of the last stage, where it is here.
  std::vector<int64_t> busy_us;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    Result<StepResult> result = ranks_[i]->receive();
    if (!result.ok()) {
      if (!error) error = result.error();
      continue;
    }
    busy_us.push_back(result->busy_us);
    if (i == answers_ || (!answers() && i == 0)) answer = *std::move(result);
  }
  if (error) return Error(ErrorCode::kDevice, "a step failed: " + error->message());
  if (ranks_.size() > 1) {
    answer->busy_us = busy_us.front();
    answer->rank_busy_us = std::move(busy_us);
  }
  return *std::move(answer);
}

}  // namespace altlas::engine
