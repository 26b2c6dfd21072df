// What computes in a worker's process, as the worker sees it.
#pragma once

#include <functional>

#include "engine/messages.h"

namespace altlas::worker {

// start(), command() and stop() come from one thread and must return at once, but for stop(). LoadReplica is given to
// start(), everything else to command().
class EngineHost {
 public:
  using ReportSink = std::function<void(engine::Report)>;
  virtual ~EngineHost() = default;
  // Begins to load; LoadProgress, then ReplicaLoaded or LoadFailed follow through `report`, which takes calls from any
  // thread, never blocks, and does nothing once the worker has ended.
  virtual void start(engine::LoadReplica load, ReportSink report) = 0;
  // Never LoadReplica; not before start().
  virtual void command(engine::Command command) = 0;
  // Ends the computation; no report after it. May take as long as one step.
  virtual void stop() = 0;
};

}  // namespace altlas::worker
