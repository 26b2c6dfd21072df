// What a replica is told and what it says, whether it lives in this process or another: the only
// way to reach an engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "replica/limits.h"
#include "replica/settings.h"
#include "task/task.h"

namespace altlas::engine {

// ---- To the replica ----

using replica::AdapterFile;

// A rank of a replica: one device, and the worker that hosts it.
struct RankPlace {
  uint32_t worker = 0;      // The worker's index in the replica.
  uint32_t node = 0;        // The machine that the worker runs on; 0: the server's.
  uint32_t device_id = 0;   // In the server.
  std::string device_spec;  // As one part of --devices has it, memory included: "cpu:1:1:4GiB".
  uint32_t cpu_first = 0;   // First core of a cpu device; its cores are [cpu_first, + threads).
  friend bool operator==(const RankPlace&, const RankPlace&) = default;
};

// What to load, told to every worker of the replica. The epoch of its frames is the server's boot
// epoch (worker/frames.h).
struct LoadReplica : replica::ReplicaSettings {
  uint32_t worker = 0;  // The index of the worker that is told. Worker 0 leads, and hosts rank 0.
  // All ranks: rank = pipeline stage x tensor_parallel_size + rank within the stage.
  std::vector<RankPlace> ranks;
  // Where the replica's workers find each other: a name that nobody else knows. The launcher of
  // worker processes sets it.
  std::string rendezvous = {};

  bool leads() const { return worker == 0; }
  // The worker of each rank.
  std::vector<uint32_t> rank_workers() const {
    std::vector<uint32_t> out;
    for (const RankPlace& rank : ranks) out.push_back(rank.worker);
    return out;
  }
  // The number of workers, which all have ranks.
  uint32_t workers() const {
    uint32_t last = 0;
    for (const RankPlace& rank : ranks) last = std::max(last, rank.worker);
    return last + 1;
  }
  // The ranks of the worker that is told, ascending.
  std::vector<uint32_t> own_ranks() const {
    std::vector<uint32_t> out;
    for (uint32_t rank = 0; rank < ranks.size(); ++rank)
      if (ranks[rank].worker == worker) out.push_back(rank);
    return out;
  }
};

// Starts, or goes on with, a task. With `generated` set the replica continues after those tokens,
// text included.
struct SubmitSequence {
  SequenceId sequence;
  Prompt prompt;  // One payload and no tokens for an engine that answers payloads.
  std::vector<int32_t> generated;
  int32_t tokens_max = 0;
  uint8_t level = 0;  // The level of its priority; 0 is served first.
  TimeUs turn = 0;    // When it is to be served: scheduler/queue.h.
  SamplingParams sampling;
  std::string adapter;  // One that was loaded; empty: the model itself.
  bool embeds = false;  // The result is the prompt's embedding; tokens_max is ignored.
};

// The sequence ends within one step; no answer follows if it was not known any more.
struct CancelSequence {
  SequenceId sequence;
};

// Reads a LoRA adapter beside the sequences that run; AdapterLoaded follows. From then on sequences
// may name it.
struct LoadAdapter {
  AdapterFile adapter;
  uint64_t load = 0;  // The sender's number of this load; AdapterLoaded repeats it.
};

// Sequences that have it go on to their ends; then its memory is free. No answer.
struct UnloadAdapter {
  std::string name;
};

// Finish what runs, take nothing more, then say Drained.
struct DrainReplica {};

using Command = std::variant<LoadReplica, SubmitSequence, CancelSequence, DrainReplica, LoadAdapter,
                             UnloadAdapter>;

// ---- From the replica ----

struct LoadProgress {
  std::string phase;    // "weights", "kv", …
  double fraction = 0;  // 0 … 1.
};

// Said by every worker of the replica, with the same limits; it runs once all have said it.
struct ReplicaLoaded : replica::ReplicaLimits {};

struct LoadFailed {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

struct SequenceTokens {
  SequenceId sequence;
  TokenDelta delta;
};

struct SequenceFinished {
  SequenceId sequence;
  TaskResult result;
};

struct SequenceFailed {
  SequenceId sequence;
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

struct SequenceCanceled {
  SequenceId sequence;
  uint32_t tokens = 0;  // Generated until then.
};

// Sent at least once a second by every worker; `steps` moving is what tells slow from stuck. Only
// the leading worker's numbers are looked at.
struct ReplicaStats {
  uint64_t steps = 0;
  uint32_t running = 0;
  uint32_t waiting = 0;
  uint32_t kv_blocks_free = 0;
  uint64_t preemptions = 0;
  uint64_t prompt_tokens = 0;                // Computed since load.
  uint64_t generated_tokens = 0;             // Since load.
  std::vector<int64_t> device_busy_us;       // Since load, by rank of the replica.
  std::vector<uint64_t> device_memory_used;  // Bytes in the ledger, by rank of the replica.
  uint64_t prefix_query_tokens = 0;          // Prompt tokens looked up in the prefix cache.
  uint64_t prefix_hit_tokens = 0;            // How many of them were found.
  uint64_t swapped_blocks = 0;               // KV blocks written to host memory since load.
  uint64_t speculative_drafted = 0;          // Tokens guessed ahead since load.
  uint64_t speculative_accepted = 0;         // How many of them were right.
  uint64_t not_finite_outputs = 0;           // Sequences that failed since load, as NaN came out.
  uint64_t step_sequences = 0;  // Sequences in the steps since load, added up over the steps.

  // Calls field(name in frames, member) for each member.
  static constexpr void fields(auto&& field) {
    using S = ReplicaStats;
    field("steps", &S::steps);
    field("running", &S::running);
    field("waiting", &S::waiting);
    field("kv_blocks_free", &S::kv_blocks_free);
    field("preemptions", &S::preemptions);
    field("prompt_tokens", &S::prompt_tokens);
    field("generated_tokens", &S::generated_tokens);
    field("device_busy_us", &S::device_busy_us);
    field("device_memory_used", &S::device_memory_used);
    field("prefix_query_tokens", &S::prefix_query_tokens);
    field("prefix_hit_tokens", &S::prefix_hit_tokens);
    field("swapped_blocks", &S::swapped_blocks);
    field("speculative_drafted", &S::speculative_drafted);
    field("speculative_accepted", &S::speculative_accepted);
    field("not_finite_outputs", &S::not_finite_outputs);
    field("step_sequences", &S::step_sequences);
  }
};
static_assert(fields_complete<ReplicaStats>(), "describe every member in fields()");

struct ReplicaDrained {};

// The end of a LoadAdapter.
struct AdapterLoaded {
  std::string name;
  uint64_t bytes = 0;                     // That it holds on the device.
  std::string message;                    // What was wrong; empty: it is there.
  ErrorCode code = ErrorCode::kInternal;  // The code of `message`.
  uint64_t load = 0;                      // LoadAdapter's: the name may be another load's by now.
};

using Report =
    std::variant<LoadProgress, ReplicaLoaded, LoadFailed, SequenceTokens, SequenceFinished,
                 SequenceFailed, SequenceCanceled, ReplicaStats, ReplicaDrained, AdapterLoaded>;

}  // namespace altlas::engine
