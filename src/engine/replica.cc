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

bool Replica::send(Command&& command) {
  std::optional<Command> boxed(std::move(command));
  if (inbox_.try_send(std::move(boxed))) return true;
  command = *std::move(boxed);
  return false;
}

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
  Executor& executor = *loaded.executor;
  AdapterLoader loader(executor, [this] { static_cast<void>(inbox_.try_send(std::nullopt)); });
  say_stats(core);
  while (!stopping_) {
    handle(loaded, inbox_.drain());
    move_adapters(loaded, loader);
    StepPlan plan = core.plan();
    const bool idle = plan.empty();
    const bool flying = executor.in_flight() > 0;
    if (!idle) executor.launch(std::move(plan));
    say(core);
    if (idle && !flying) {
      const TimeUs left = stats_at_ + kStatsPeriodUs - clock_.now();
      handle(loaded, inbox_.wait_drain(
                         std::chrono::microseconds(std::clamp<TimeUs>(left, 0, kStatsPeriodUs))));
      say(core);
    } else if (idle || executor.in_flight() >= executor.depth()) {
      ALTLAS_TRY(const StepResult result, executor.collect());
      core.commit(result);
      drop_adapters(executor, /*collected=*/true);
      say(core);
    }
    if (clock_.now() - stats_at_ >= kStatsPeriodUs) say_stats(core);
  }
  return {};
}

void Replica::handle(LoadedReplica& loaded, std::vector<std::optional<Command>> commands) {
  for (std::optional<Command>& command : commands) {
    if (command && !std::holds_alternative<LoadReplica>(*command))
      loaded.core->handle(*std::move(command));
  }
}

// Between the core, which decides, and the thread that reads.
void Replica::move_adapters(LoadedReplica& loaded, AdapterLoader& loader) {
  for (AdapterRead& read : loader.take()) loaded.core->adapter_read(read.id, read.bytes);
  for (AdapterJob& job : loaded.core->take_adapter_jobs()) loader.read(std::move(job));
  for (const uint32_t id : loaded.core->take_dropped_adapters())
    dropped_.emplace_back(id, loaded.executor->in_flight());
  drop_adapters(*loaded.executor, /*collected=*/false);
}

void Replica::drop_adapters(Executor& executor, bool collected) {
  std::erase_if(dropped_, [&](std::pair<uint32_t, int>& one) {
    if (collected) --one.second;
    if (one.second > 0) return false;
    executor.drop_adapter(one.first);
    return true;
  });
}

void Replica::say(ReplicaCore& core) {
  for (Report& report : core.take_reports()) options_.report(std::move(report));
}

void Replica::say_stats(const ReplicaCore& core) {
  stats_at_ = clock_.now();
  options_.report(core.stats());
}

}  // namespace altlas::engine
