// EngineHost: what computes for a replica, as a worker's process and a launcher see it.
#pragma once

#include <functional>

#include "base/result.h"
#include "engine/messages.h"

namespace altlas::engine {

// start(), command() and stop() come one at a time and must return at once, but for stop().
// LoadReplica is given to start(), everything else to command().
class EngineHost {
 public:
  using ReportSink = std::function<void(Report)>;
  using EndSink = std::function<void(Error)>;
  virtual ~EngineHost() = default;
  // Begins to load; LoadProgress, then ReplicaLoaded or LoadFailed follow through `report`.
  // `ended`: the engine is over, after its last report; a process that hosts it then ends. Both
  // take calls from any thread, never block, and do nothing once the worker has ended.
  virtual void start(LoadReplica load, ReportSink report, EndSink ended) = 0;
  // Never LoadReplica; not before start(). False, and `command` untouched, when there is no room:
  // it comes again.
  [[nodiscard]] virtual bool command(Command&& command) = 0;
  // Ends the computation; no report after it. May take as long as one step.
  virtual void stop() = 0;
};

}  // namespace altlas::engine
