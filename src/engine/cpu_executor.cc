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

namespace altlas::engine {

namespace {
constexpr size_t kProgressMax = 64;  // Waiting reports of loading; more are dropped.
constexpr auto kForever = std::chrono::hours(1);

struct Progressed {
  std::string phase;
  double fraction = 0;
};
using LoadEvent = std::variant<Progressed, Result<model::ReplicaShape>>;

ReplicaLimits limits_of(const model::ReplicaShape& shape, size_t devices) {
  ReplicaLimits limits = shape;
  // Only their ratio matters: a core copies some 4 GB/s and computes some 5e11 operations/s.
  limits.swap_block_ns = shape.block_bytes / 4;
  limits.prefill_token_ns = shape.parameters * 2 / 500 + 1;
  limits.device_count = static_cast<uint32_t>(devices);
  return limits;
}
}  // namespace

// The thread of one rank. Plans and results pass through bounded channels; the device and the rank
// are its alone.
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

  // Of the loaded rank; lives as long as this. For its adapters only.
  model::Rank& rank() { return *rank_; }
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
  std::deque<Result<StepResult>> received_;  // The leading thread's.
  model::Rank* rank_ = nullptr;              // Set before the last loading event.
  std::thread thread_;                       // Last: it uses the channels.
};

Result<std::unique_ptr<CpuExecutor>> CpuExecutor::open(std::vector<CpuRankOptions> options,
                                                       uint32_t depth, const Progress& progress) {
  ALTLAS_CHECK(!options.empty() && depth >= 1, "at least one rank, depth >= 1");
  std::vector<std::unique_ptr<RankThread>> ranks;
  for (CpuRankOptions& rank : options)
    ranks.push_back(std::make_unique<RankThread>(std::move(rank), depth));
  std::optional<ReplicaLimits> limits;
  std::optional<Error> error;
  for (const auto& rank : ranks) {
    Result<model::ReplicaShape> shape = rank->wait_loaded(limits ? Progress() : progress);
    if (!shape.ok() && !error) error = shape.error();
    if (shape.ok() && !limits) limits = limits_of(*shape, ranks.size());
  }
  if (error) return *error;
  return std::unique_ptr<CpuExecutor>(new CpuExecutor(std::move(ranks), std::move(*limits), depth));
}

CpuExecutor::CpuExecutor(std::vector<std::unique_ptr<RankThread>> ranks, ReplicaLimits limits,
                         uint32_t depth)
    : ranks_(std::move(ranks)), limits_(std::move(limits)), depth_(static_cast<int>(depth)) {}

CpuExecutor::~CpuExecutor() = default;

Result<uint64_t> CpuExecutor::load_adapter(uint32_t id, const std::string& path) {
  uint64_t bytes = 0;
  for (const auto& rank : ranks_) {
    ALTLAS_TRY(const uint64_t own, rank->rank().load_adapter(id, path));
    bytes = std::max(bytes, own);
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
  Result<StepResult> first = ranks_.front()->receive();
  for (size_t i = 1; i < ranks_.size(); ++i) {
    Result<StepResult> other = ranks_[i]->receive();
    if (first.ok() && !other.ok()) first = std::move(other);
  }
  if (!first.ok()) return Error(ErrorCode::kDevice, "a step failed: " + first.error().message());
  return first;
}

}  // namespace altlas::engine
