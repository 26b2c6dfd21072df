// ReplicaLimits: what a replica can hold, as its load found it. One row of fields() describes each
// number; frames and views are made from the rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fields.h"
#include "kv/group.h"

namespace altlas::replica {

struct ReplicaLimits {
  uint32_t sequences_max = 0;         // Slots.
  uint32_t model_len_max = 0;         // Prompt and generated tokens of one sequence.
  uint32_t step_tokens_max = 0;       // Token budget of one step.
  uint32_t block_tokens = 0;          // Tokens of one KV block.
  uint32_t kv_blocks = 0;             // Of the group with the fewest tokens; 0: there is no KV.
  std::vector<kv::GroupSpec> groups;  // What layers keep of a sequence.
  uint64_t block_bytes = 0;           // Of one block of every group together, without states.
  uint64_t weight_bytes = 0;          // Held on a device: model, adapters, draft model.
  // Held beside weights and KV blocks: workspace of a step, sampling, and all states of groups that
  // keep them.
  uint64_t activation_bytes = 0;
  uint32_t swap_places = 0;       // Blocks, or states, per group that host memory holds.
  uint64_t swap_block_ns = 0;     // To copy one block of every group to host memory, or back.
  uint64_t prefill_token_ns = 0;  // To compute one token of a prompt.
  bool draft_model = false;       // The ranks guess tokens themselves (kTokenGuessed).
  uint32_t vocab_size = 0;        // Rows of the head; 0: token ids are not checked.
  uint32_t embedding_size = 0;    // Values of an embedding; 0: the model gives none.
  bool reads_payloads = false;    // It has an encoder of its own for payloads in prompts.
  bool generates = true;          // False for encoders: they only embed, each prompt in one step.
  uint32_t device_count = 1;      // Devices of the worker.
  std::string simd;               // "avx512_vnni"; empty where the CPU does not compute.

  uint64_t kv_tokens() const {
    return groups.empty() ? 0 : uint64_t{groups[0].blocks} * block_tokens;
  }
  // Of all groups, on one device.
  uint64_t kv_bytes() const {
    uint64_t sum = 0;
    for (const kv::GroupSpec& group : groups) sum += group.blocks * group.block_bytes;
    return sum;
  }

  // Calls field(name in frames, member) for each member.
  static constexpr void fields(auto&& field) {
    using L = ReplicaLimits;
    field("sequences_max", &L::sequences_max);
    field("model_len_max", &L::model_len_max);
    field("step_tokens_max", &L::step_tokens_max);
    field("block_tokens", &L::block_tokens);
    field("kv_blocks", &L::kv_blocks);
    field("groups", &L::groups);
    field("block_bytes", &L::block_bytes);
    field("weight_bytes", &L::weight_bytes);
    field("activation_bytes", &L::activation_bytes);
    field("swap_places", &L::swap_places);
    field("swap_block_ns", &L::swap_block_ns);
    field("prefill_token_ns", &L::prefill_token_ns);
    field("draft_model", &L::draft_model);
    field("vocab_size", &L::vocab_size);
    field("embedding_size", &L::embedding_size);
    field("reads_payloads", &L::reads_payloads);
    field("generates", &L::generates);
    field("device_count", &L::device_count);
    field("simd", &L::simd);
  }
};
static_assert(fields_complete<ReplicaLimits>(), "describe every member in fields()");

}  // namespace altlas::replica
