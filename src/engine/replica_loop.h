// ReplicaLoop: the loop of a loaded replica as a pure piece: commands in, steps on the executor,
// reports out. A replica's thread drives it, and so does the simulator.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/adapter_job.h"
#include "engine/executor.h"
#include "engine/messages.h"
#include "engine/replica_core.h"

namespace altlas::engine {

// ReplicaStats at least so often, and at ends of steps only.
inline constexpr int64_t kStatsPeriodUs = kSecond / 2;

// Threads: one. How to drive it: handle() what arrived, move adapters, hand out grammars,
// turn(), hand out take_reports(); then do what turn() said, and hand out what stats() gives.
class ReplicaLoop {
 public:
  enum class Next : uint8_t {
    kAgain,    // There may be more to launch.
    kCollect,  // collect(), once the executor's oldest step is done.
    kWait,     // Nothing is to be computed before a command or the result of a job comes.
  };

  // core, executor: outlive it.
  ReplicaLoop(ReplicaCore& core, Executor& executor) : core_(core), executor_(executor) {}

  // LoadReplica is ignored: the replica is loaded.
  void handle(Command command);
  // Plans a step and launches it unless it is empty.
  Next turn();
  // Takes the oldest step's result; waits for it where the executor does.  Errors: kDevice: the
  // replica must restart.
  Result<void> collect();
  // What was said since the last call, in order.
  std::vector<Report> take_reports() { return core_.take_reports(); }
  // Statistics, when they are due; at once for the first call.
  std::optional<ReplicaStats> stats(TimeUs now);
  TimeUs stats_due() const { return stats_at_ + kStatsPeriodUs; }

  // Files that are to be read for the executor, each answered by adapter_read().
  std::vector<AdapterJob> take_adapter_jobs() { return core_.take_adapter_jobs(); }
  void adapter_read(const AdapterRead& read) { core_.adapter_read(read.id, read.bytes); }
  // A grammar that is to be compiled, answered by grammar_compiled().
  std::optional<Grammar> take_grammar_job() { return core_.take_grammar_job(); }
  void grammar_compiled(const CompiledGrammar& compiled) { core_.grammar_compiled(compiled); }
  // Lets go of adapters that no step names any more.
  void drop_adapters();

 private:
  ReplicaCore& core_;
  Executor& executor_;
  TimeUs stats_at_ = INT64_MIN / 2;
  // Adapters that nothing names any more, and how many steps in flight may still do so.
  std::vector<std::pair<uint32_t, int>> dropped_;
};

}  // namespace altlas::engine
