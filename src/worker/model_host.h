// The engine host of a worker process: an engine of this process alone, or one worker of a replica
// of several, which find each other by the replica's rendezvous.
#pragma once

#include <memory>

#include "base/result.h"
#include "engine/engine_host.h"
#include "model/stage_link.h"
#include "worker/step_line.h"

namespace altlas::worker {

// All groups that a worker of a replica of several is in.
struct WorkerGroups {
  StepLine line;
  std::vector<model::StageLinkOptions> links;  // By stage.
};
// Joins them, over shared memory. It waits for the other workers: up to the replica's
// distributed_timeout_seconds, the first of them for as long as it takes.  Errors: as
// model::worker_groups and collective::join_shared_memory; kInvalid without a rendezvous.
Result<WorkerGroups> join_workers(const engine::LoadReplica& load);

std::unique_ptr<engine::EngineHost> make_worker_host();

}  // namespace altlas::worker
