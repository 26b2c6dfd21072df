#include "engine/replica.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"

namespace altlas::engine {

Replica::Replica(ReplicaOptions options, const Clock& clock)
    : options_(std::move(options)), clock_(clock), inbox_(kInboxMax) {
  ALTLAS_CHECK(options_.report && options_.loader, "a loader and somebody to report to");
}

Replica::~Replica() { stop(); }

void Replica::start() {
  ALTLAS_CHECK(!thread_.joinable(), "a replica starts once");
  thread_ = std::thread([this] { run(); });
}

bool Replica::send(Command&& command) { return inbox_.try_send(std::move(command)); }

void Replica::stop() {
  stopping_ = true;
  inbox_.close();
  if (thread_.joinable()) thread_.join();
}

void Replica::run() {
  Result<void> end;
  {
    Result<std::unique_ptr<LoadedReplica>> loaded = options_.loader(
        options_.load, [this](const LoadProgress& progress) { options_.report(progress); });
    if (loaded.ok()) {
      options_.report((*loaded)->core->loaded((*loaded)->simd));
      end = serve(**loaded);
    } else {
      end = loaded.error();
    }
  }
  inbox_.close();
  if (!end.ok()) options_.report(LoadFailed{end.error().code(), end.error().message()});
  if (options_.ended) options_.ended(end);
}

// Only this thread touches core and executor, so neither has a lock.
Result<void> Replica::serve(LoadedReplica& loaded) {
  ReplicaCore& core = *loaded.core;
  Executor* executor = loaded.executor.get();
  say_stats(core);
  while (!stopping_) {
    handle(loaded, inbox_.drain());
    StepPlan plan = core.plan();
    const bool idle = plan.empty();
    const bool flying = executor != nullptr && executor->in_flight() > 0;
    if (!idle) executor->launch(std::move(plan));
    say(core);
    if (idle && !flying) {
      const TimeUs left = stats_at_ + kStatsPeriodUs - clock_.now();
      handle(loaded, inbox_.wait_drain(
                         std::chrono::microseconds(std::clamp<TimeUs>(left, 0, kStatsPeriodUs))));
      say(core);
    } else if (idle || executor->in_flight() >= executor->depth()) {
      ALTLAS_TRY(const StepResult result, executor->collect());
      core.commit(result);
      say(core);
    }
    if (clock_.now() - stats_at_ >= kStatsPeriodUs) say_stats(core);
  }
  return {};
}

void Replica::handle(LoadedReplica& loaded, std::vector<Command> commands) {
  for (Command& command : commands) {
    if (!std::holds_alternative<LoadReplica>(command)) loaded.core->handle(std::move(command));
  }
}

void Replica::say(ReplicaCore& core) {
  for (Report& report : core.take_reports()) options_.report(std::move(report));
}

void Replica::say_stats(const ReplicaCore& core) {
  stats_at_ = clock_.now();
  options_.report(core.stats());
}

}  // namespace altlas::engine
