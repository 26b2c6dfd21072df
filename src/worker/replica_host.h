// The engine of a worker process: one engine::Replica with what LoadReplica names.
#pragma once

#include <memory>

#include "worker/engine_host.h"

namespace altlas::worker {

std::unique_ptr<EngineHost> make_replica_host();

}  // namespace altlas::worker
