// ReplicaLimits: what a replica can hold, as its load found it. One row of fields() describes each
// number; frames and views are made from the rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fields.h"
#include "kv/group.h"

namespace altlas::replica {

// What one rank holds of a replica, in bytes.
struct RankMemory {
  uint64_t weights = 0;  // Model, adapters, draft model.
  // What is held beside weights and KV blocks: workspace of a step, sampling, and all states of
  // groups that keep them.
  uint64_t activations = 0;
  // Size of one block, by group; 0 for groups that keep states.
  std::vector<uint64_t> blocks;

  uint64_t fixed() const { return weights + activations; }
  // The size of one block of every group together.
  uint64_t block_bytes() const {
    uint64_t sum = 0;
    for (const uint64_t bytes : blocks) sum += bytes;
    return sum;
  }
  friend bool operator==(const RankMemory&, const RankMemory&) = default;
};

struct ReplicaLimits {
  uint32_t sequences_max = 0;    // Slots.
  uint32_t model_len_max = 0;    // Prompt and generated tokens of one sequence.
  uint32_t step_tokens_max = 0;  // Token budget of one step.
  uint32_t block_tokens = 0;     // Tokens of one KV block.
  // Blocks of the group with the fewest tokens; 0: there is no KV.
  uint32_t kv_blocks = 0;
  // What layers keep of a sequence; block_bytes is the largest of any rank.
  std::vector<kv::GroupSpec> groups;
  std::vector<RankMemory> ranks;  // Empty for engines that hold nothing on devices.
  uint32_t swap_places = 0;       // Blocks, or states, per group that host memory holds.
  uint64_t swap_block_ns = 0;     // To copy one block of every group to host memory, or back.
  uint64_t prefill_token_ns = 0;  // To compute one token of a prompt.
  bool draft_model = false;       // The ranks guess tokens themselves (kTokenGuessed).
  uint32_t vocab_size = 0;        // Rows of the head; 0: token ids are not checked.
  uint32_t embedding_size = 0;    // Values of an embedding; 0: the model gives none.
  bool reads_payloads = false;    // It has an encoder of its own for payloads in prompts.
  bool generates = true;          // False for encoders: they only embed, each prompt in one step.
  std::string simd;               // "avx512_vnni"; empty where the CPU does not compute.

  // The zeros of a rank that is not there are those of an engine that holds nothing.
  const RankMemory& rank(size_t index) const {
    static const RankMemory kNothing;
    return index < ranks.size() ? ranks[index] : kNothing;
  }
  // The most that one block of every group together takes on a device, states apart.
  uint64_t block_bytes() const {
    uint64_t most = 0;
    for (const RankMemory& rank : ranks) most = std::max(most, rank.block_bytes());
    return most;
  }
  // Tokens that the first group's blocks hold.
  uint64_t kv_tokens() const {
    return groups.empty() ? 0 : uint64_t{groups[0].blocks} * block_tokens;
  }
  // All groups, each with the bytes of the rank where it takes most: at least what any device
  // holds.
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
    field("ranks", &L::ranks);
    field("swap_places", &L::swap_places);
    field("swap_block_ns", &L::swap_block_ns);
    field("prefill_token_ns", &L::prefill_token_ns);
    field("draft_model", &L::draft_model);
    field("vocab_size", &L::vocab_size);
    field("embedding_size", &L::embedding_size);
    field("reads_payloads", &L::reads_payloads);
    field("generates", &L::generates);
    field("simd", &L::simd);
  }
};
static_assert(fields_complete<ReplicaLimits>(), "describe every member in fields()");

}  // namespace altlas::replica
