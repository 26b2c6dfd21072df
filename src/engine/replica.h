// Replica: a loaded model and the thread that runs it. Commands come in through a bounded inbox,
// reports go out.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/channel.h"
#include "base/clock.h"
#include "base/result.h"
#include "engine/adapter_job.h"
#include "engine/load.h"
#include "engine/messages.h"
#include "engine/replica_loop.h"

namespace altlas::engine {

inline constexpr size_t kInboxMax = 4096;  // Commands waiting; then send() is false.

struct ReplicaOptions {
  LoadReplica load;
  Loader loader;  // load_replica, but for tests.
  // Both are called from the replica's thread; they must not block, or steps wait.
  std::function<void(Report)> report;
  // Once, last: why the thread ended. Ok after stop(); an error (LoadFailed was reported) means
  // that the process holding the replica should end: its devices are in an unknown state. May be
  // empty.
  std::function<void(const Result<void>&)> ended;
};

// Its thread loads the model, then plans, launches, collects and reports until stop() or a device
// error. A device error reports LoadFailed with kDevice and no SequenceFailed: the sequences are
// whole and go on elsewhere from their tokens.
class Replica {
 public:
  // clock: outlives it.
  explicit Replica(ReplicaOptions options, const Clock& clock = system_clock());
  ~Replica();  // stop().
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  void start();
  // Any thread. False, and `command` untouched, when the inbox is full or the replica has ended.
  [[nodiscard]] bool send(Command&& command);
  // Ends within one step (a model that is being loaded is loaded first, what is being read or
  // compiled is waited for); sequences are dropped
  // without a report. Once it returns nothing is called any more. Not from the replica's own
  // thread.
  void stop();

 private:
  void run();
  Result<void> serve(LoadedReplica& loaded);
  void handle(ReplicaLoop& loop, std::vector<std::optional<Command>> commands);
  void say(ReplicaLoop& loop);

  ReplicaOptions options_;
  const Clock& clock_;
  Channel<std::optional<Command>> inbox_;  // Empty ones only wake the thread.
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace altlas::engine
