// What a replica is told and what it says, whether it lives in this process or another: the only
// way to reach an engine.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "task/task.h"

namespace altlas::engine {

// ---- To the replica ----

// A LoRA adapter that requests may name.
struct AdapterFile {
  std::string name;
  std::string path;  // A GGUF or safetensors file that the worker can open.
};

// What to load. A rank is (worker, device); this worker hosts `devices[i]` as rank `ranks[i]`; rank
// 0 leads.
struct LoadReplica {
  std::string kind = "model";        // Of engine/hosts.h: "model", or "echo", which has no model.
  std::string model_path;            // A file that the worker can open.
  std::string tokenizer_path;        // A folder with a tokenizer.json; empty: the model's own.
  std::string device_spec;           // One part per device of this worker, as --devices has it:
                                     // "cpu:1:1:4GiB+cpu:1:1:4GiB".
  std::vector<uint32_t> device_ids;  // Their ids in the server.
  std::vector<uint32_t>
      cpu_first;  // First core of each cpu device; cores are [cpu_first, cpu_first + threads).
  std::vector<uint32_t> ranks;
  uint32_t tensor_parallel_size = 1;
  uint32_t pipeline_parallel_size = 1;
  uint32_t expert_parallel_size = 1;
  uint32_t model_len_max = 0;    // 0: the model's.
  uint32_t sequences_max = 0;    // 0: chosen by the engine.
  uint32_t step_tokens_max = 0;  // 0: chosen by the engine.
  uint32_t block_tokens = 16;
  uint64_t kv_tokens_max = 0;  // Of the KV cache; 0: what the memory gives.
  uint32_t executor_depth = 1;
  double memory_utilization = 0.9;
  std::string kv_dtype = "f16";
  bool prefix_caching = true;
  uint64_t swap_bytes = 0;          // Host memory for the KV of preempted sequences; 0: recompute.
  uint32_t speculative_tokens = 0;  // Guessed ahead per step and sequence; 0: none.
  std::string draft_model_path;     // Guesses come from it; empty: from the text so far.
  std::string repack_folder;        // Where repacked weights are kept; empty: nowhere.
  std::vector<AdapterFile> adapters;
  uint32_t adapter_rank_max = 0;  // Of adapters, now and later; 0: what the kernels take.
};

// Starts, or goes on with, a task. With `generated` set the replica continues after those tokens,
// text included.
struct SubmitSequence {
  SequenceId sequence;
  std::vector<int32_t> prompt;
  std::vector<int32_t> generated;
  int32_t tokens_max = 0;
  uint8_t level = 0;  // Of its priority, 0 is served first.
  TimeUs turn = 0;    // When it is to be served: scheduler/queue.h.
  SamplingParams sampling;
  std::string adapter;  // One that was loaded; empty: the model itself.
  bool embeds = false;  // The result is the prompt's embedding; tokens_max is ignored.
  std::string payload;  // For engines that answer payloads.
};

// The sequence ends within one step; no answer follows if it was not known any more.
struct CancelSequence {
  SequenceId sequence;
};

// Reads a LoRA adapter beside the sequences that run; AdapterLoaded follows. From then on sequences
// may name it.
struct LoadAdapter {
  AdapterFile adapter;
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

struct ReplicaLoaded {
  uint32_t sequences_max = 0;
  uint32_t model_len_max = 0;
  uint32_t block_tokens = 0;
  uint32_t kv_blocks = 0;  // Of the group that has fewest tokens; 0 where there is no KV.
  uint64_t block_bytes = 0;
  uint64_t weight_bytes = 0;
  uint64_t activation_bytes = 0;
  std::string simd;             // "avx512_vnni".
  uint32_t embedding_size = 0;  // Values of an embedding; 0: this model gives none.
  bool generates = true;        // False for encoders: they only embed.
};

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

// Sent at least once a second; `steps` moving is what tells slow from stuck.
struct ReplicaStats {
  uint64_t steps = 0;
  uint32_t running = 0;
  uint32_t waiting = 0;
  uint32_t kv_blocks_free = 0;
  uint64_t preemptions = 0;
  uint64_t prompt_tokens = 0;                // Computed since load.
  uint64_t generated_tokens = 0;             // Since load.
  std::vector<int64_t> device_busy_us;       // Since load, one per device of the worker.
  std::vector<uint64_t> device_memory_used;  // Bytes in the ledger, one per device.
  uint64_t prefix_query_tokens = 0;          // Prompt tokens looked up in the prefix cache.
  uint64_t prefix_hit_tokens = 0;            // Of them, found.
  uint64_t swapped_blocks = 0;               // KV blocks written to host memory since load.
  uint64_t speculative_drafted = 0;          // Tokens guessed ahead since load.
  uint64_t speculative_accepted = 0;         // Of them, right.
};

struct ReplicaDrained {};

// The end of a LoadAdapter.
struct AdapterLoaded {
  std::string name;
  uint64_t bytes = 0;                     // That it holds on the device.
  std::string message;                    // What was wrong; empty: it is there.
  ErrorCode code = ErrorCode::kInternal;  // Of `message`.
};

using Report =
    std::variant<LoadProgress, ReplicaLoaded, LoadFailed, SequenceTokens, SequenceFinished,
                 SequenceFailed, SequenceCanceled, ReplicaStats, ReplicaDrained, AdapterLoaded>;

}  // namespace altlas::engine
