#include "engine/replica_loop.h"

#include <variant>

namespace altlas::engine {

void ReplicaLoop::handle(Command command) {
  if (!std::holds_alternative<LoadReplica>(command)) core_.handle(std::move(command));
}

ReplicaLoop::Next ReplicaLoop::turn() {
  StepPlan plan = core_.plan();
  const bool idle = plan.empty();
  const bool flying = executor_.in_flight() > 0;
  if (idle && !flying) return Next::kWait;
  if (!idle) executor_.launch(std::move(plan));
  return idle || executor_.in_flight() >= executor_.depth() ? Next::kCollect : Next::kAgain;
}

Result<void> ReplicaLoop::collect() {
  ALTLAS_TRY(const StepResult result, executor_.collect());
  core_.commit(result);
  for (auto& [id, steps] : dropped_) --steps;
  drop_adapters();
  return {};
}

void ReplicaLoop::drop_adapters() {
  for (const uint32_t id : core_.take_dropped_adapters())
    dropped_.emplace_back(id, executor_.in_flight());
  std::erase_if(dropped_, [this](const std::pair<uint32_t, int>& one) {
    if (one.second > 0) return false;
    executor_.drop_adapter(one.first);
    return true;
  });
}

std::optional<ReplicaStats> ReplicaLoop::stats(TimeUs now) {
  if (now < stats_due()) return std::nullopt;
  stats_at_ = now;
  return core_.stats();
}

}  // namespace altlas::engine
