// Builds what a LoadReplica of kind "model" asks for: tokenizer, executor and core, on the devices
// it names.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/cpu_executor.h"
#include "engine/executor.h"
#include "engine/messages.h"
#include "engine/replica_core.h"
#include "model/rank.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

// A replica ready to run. Members are destroyed last to first.
struct LoadedReplica {
  std::unique_ptr<const text::Tokenizer> tokenizer;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<ReplicaCore> core;
  std::string simd;  // "avx512_vnni"; empty where the CPU does not compute.
};

// What a rank of the replica is told, but for what only the tokenizer knows.
model::LoadOptions load_options(const LoadReplica& load, uint32_t rank);

// The number of micro batches in the replica's pipeline, by default one per stage within what is
// possible; 1: it has one stage.
uint32_t micro_batches(const LoadReplica& load);

// What the replica's core is told.
CoreOptions core_options(const LoadReplica& load);

// What the replica would hold once loaded, rank by rank, from its file's metadata: nothing is
// allocated. `groups[].blocks` are the KV blocks that the ranks would have. On devices cpu or sim,
// each with memory_bytes; 0: with its own.  Errors: as load_replica, but for what only a load
// finds: damaged weights, memory that is taken.
Result<ReplicaLimits> plan_replica(const LoadReplica& load, uint64_t memory_bytes = 0);

// Called from the loading thread.
using LoadProgressSink = std::function<void(const LoadProgress&)>;
using Loader = std::function<Result<std::unique_ptr<LoadedReplica>>(const LoadReplica&,
                                                                    const LoadProgressSink&)>;

// On devices cpu or sim (sim reads only shape and vocabulary). Takes as long as reading the model
// takes; every byte on a device is in its ledger, while swap space (swap_bytes) is plain memory of
// the host and booked nowhere. Errors: kInvalid (the request, the file, or "does not fit" with the
// numbers), kNotFound, kIo, kBusy (the memory is taken), kUnsupported (a device kind that can't
// compute here, mixed kinds).
Result<std::unique_ptr<LoadedReplica>> load_replica(const LoadReplica& load,
                                                    const LoadProgressSink& progress);

// How the leading worker of several reaches the others.
struct LeadOptions {
  std::vector<model::StageLinkOptions> links;  // As RankWorkers::links.
  // Makes the executor of all ranks from that of this worker's.
  std::function<std::unique_ptr<Executor>(std::unique_ptr<CpuExecutor>)> lead;
};
// As load_replica, of the ranks of the leading worker: the others load theirs by load_ranks().
Result<std::unique_ptr<LoadedReplica>> load_leading(const LoadReplica& load,
                                                    const LoadProgressSink& progress,
                                                    LeadOptions options);
// What a worker loads that does not lead: its ranks alone. links: as RankWorkers::links.  Errors:
// as load_replica.
Result<std::unique_ptr<CpuExecutor>> load_ranks(const LoadReplica& load,
                                                const LoadProgressSink& progress,
                                                std::vector<model::StageLinkOptions> links);

}  // namespace altlas::engine
