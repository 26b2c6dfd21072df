// Executor: carries out planned steps on a replica's ranks, in two phases so that the next step can
// be planned, or even launched, while this one runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "kv/group.h"
#include "step/step_plan.h"

namespace altlas::engine {

// What a loaded replica can hold; fixed at load.
struct ReplicaLimits {
  uint32_t sequences_max = 0;         // Slots.
  uint32_t model_len_max = 0;         // Prompt + generated tokens of one sequence.
  uint32_t step_tokens_max = 0;       // Token budget of one step.
  uint32_t block_tokens = 0;          // Tokens of one KV block.
  std::vector<kv::GroupSpec> groups;  // What layers keep of a sequence.
  uint64_t block_bytes = 0;           // Of one KV block of every group together, without states.
  uint64_t weight_bytes = 0;          // Held on the device: model, adapters, draft model.
  uint64_t activation_bytes = 0;  // Held beside weights and KV blocks: workspace, sampling, and all
                                  // states of groups that keep them.
  uint32_t swap_places = 0;       // Blocks, or states, per group that host memory holds.
  uint64_t swap_block_ns = 0;     // To copy one block of every group there or back.
  uint64_t prefill_token_ns = 0;  // To compute one token of a prompt.
  bool draft_model = false;       // The ranks guess tokens themselves (kTokenGuessed).
  uint32_t vocab_size = 0;        // 0: token ids are not checked.
  uint32_t embedding_size = 0;    // Values of an embedding; 0: the model gives none.
  bool generates = true;          // False for encoders: they only embed, each prompt in one step.
  uint32_t device_count = 1;      // Of this worker; the bytes are those of each.

  uint64_t kv_tokens() const {
    return groups.empty() ? 0 : uint64_t{groups[0].blocks} * block_tokens;
  }
};

// Threads: all calls but load_adapter() from the replica's leading thread.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual const ReplicaLimits& limits() const = 0;
  // Hands a plan to the ranks and returns at once. At most depth() may be in flight.
  virtual void launch(StepPlan plan) = 0;
  // Waits for the oldest launched step.  Errors: kDevice: the replica must restart.
  virtual Result<StepResult> collect() = 0;
  virtual int in_flight() const = 0;
  virtual int depth() const = 0;  // ≥ 1.
  // Reads a LoRA adapter's file for every rank, beside the steps; SequenceRequest::adapter may name
  // `id` from then on. Gives its bytes on one device. From one other thread; after an error some
  // ranks may hold it.  Errors: as model::Rank::load_adapter.
  virtual Result<uint64_t> load_adapter(uint32_t id, const std::string& path) = 0;
  // No plan in flight or to come names it. One that is not there is nothing.
  virtual void drop_adapter(uint32_t id) = 0;
};

}  // namespace altlas::engine
