#include "engine/replica.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "engine/job_thread.h"

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
  ReplicaLoop loop(*loaded.core, *loaded.executor);
  const auto wake = [this] { static_cast<void>(inbox_.try_send(std::nullopt)); };
  JobThread<AdapterJob, AdapterRead> adapters(
      kAdaptersMax,
      [&](const AdapterJob& job) {
        return AdapterRead{job.id, loaded.executor->load_adapter(job.id, job.path)};
      },
      wake);
  GrammarCompiler compiler = loaded.core->grammar_compiler();
  JobThread<Grammar, CompiledGrammar> grammars(
      1, [&](const Grammar& grammar) { return compiler.compile(grammar); }, wake);
  while (!stopping_) {
    if (auto stats = loop.stats(clock_.now())) options_.report(*std::move(stats));
    handle(loop, inbox_.drain());
    for (const AdapterRead& read : adapters.take()) loop.adapter_read(read);
    for (AdapterJob& job : loop.take_adapter_jobs()) adapters.ask(std::move(job));
    loop.drop_adapters();
    for (const CompiledGrammar& compiled : grammars.take()) loop.grammar_compiled(compiled);
    if (auto wanted = loop.take_grammar_job()) grammars.ask(*std::move(wanted));
    const ReplicaLoop::Next next = loop.turn();
    say(loop);
    if (next == ReplicaLoop::Next::kCollect) {
      ALTLAS_TRY_VOID(loop.collect());
      say(loop);
    } else if (next == ReplicaLoop::Next::kWait) {
      const TimeUs left = std::clamp<TimeUs>(loop.stats_due() - clock_.now(), 0, kStatsPeriodUs);
      handle(loop, inbox_.wait_drain(std::chrono::microseconds(left)));
      say(loop);
    }
  }
  return {};
}

void Replica::handle(ReplicaLoop& loop, std::vector<std::optional<Command>> commands) {
  for (std::optional<Command>& command : commands)
    if (command) loop.handle(*std::move(command));
}

void Replica::say(ReplicaLoop& loop) {
  for (Report& report : loop.take_reports()) options_.report(std::move(report));
}

}  // namespace altlas::engine
