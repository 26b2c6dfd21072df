// One engine step, as the leading thread plans it and every rank carries it out.
//
// A rank keeps state per slot (block tables, the request, tokens seen), and a plan carries only
// changes to it: so a plan is small, means the same in another process, and can be launched before
// the step before it has ended.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "kv/changes.h"
#include "task/task.h"

namespace altlas {

// Stands for the token that the same slot's previous step samples, not known yet when the plan is
// made.
inline constexpr int32_t kTokenPending = -1;
// Stands for a token that the ranks' draft model guesses.
inline constexpr int32_t kTokenGuessed = -2;

// What a rank must know of a sequence for as long as it holds a slot. Immutable, shared with the
// leading thread.
struct SequenceRequest {
  Prompt prompt;
  // Tokens of earlier runs of the task, on this replica or another.
  std::vector<int32_t> generated;
  SamplingParams sampling;
  uint32_t adapter = 0;  // Id of a LoRA adapter that the ranks hold; 0: none.
  bool embeds = false;   // The entry that `samples` gives the prompt's embedding, and no token.
};

struct SlotStart {
  int32_t slot = 0;
  std::shared_ptr<const SequenceRequest> request;
};

// How a slot's block tables change, in this order.
struct SlotTables {
  int32_t slot = 0;
  std::vector<kv::TableChange> changes;
};

// A bit per token id, set where a grammar allows it next; ids beyond it are not allowed. Null: all
// are.
using AllowedTokens = std::shared_ptr<const std::vector<uint64_t>>;

// For groups that keep state (kv::GroupKind::kState) a slot's table has one entry, whose state the
// slot's tokens change one after the other. It begins anew with position 0, whatever lies there.
//
// A run of tokens of one sequence: a chunk of prefill, or one token of decode and guesses of what
// follows it.
struct StepEntry {
  int32_t slot = 0;
  uint32_t position = 0;  // The position of tokens[0] in the sequence (prompt + generated).
  // kTokenPayload where a payload of the request's prompt stands.
  std::vector<int32_t> tokens;  // ≥ 1; only the last may be kTokenPending, then it is the only one.
  bool samples = false;         // The last token's logits give the next token.
  // How many of the last tokens are guesses (all of them kTokenGuessed, or none). `samples` is set
  // then: each position from the last known token on gives a token, as far as the guess before it
  // is the token given there. KV written behind the last right guess is void.
  uint32_t guesses = 0;
  // Log-probabilities of tokens position+1 … of this chunk (and the next chunk's first) too.
  bool prompt_logprobs = false;
  AllowedTokens allowed = nullptr;  // With `samples`: where the next token is from.
};

struct StepPlan {
  StepId id;
  std::vector<SlotStart> starts;        // First.
  std::vector<SlotTables> tables;       // Then.
  std::vector<kv::BlockSwap> swap_out;  // Then, to host memory, before any write of the step.
  std::vector<kv::BlockCopy> copies;    // Then.
  std::vector<kv::BlockSwap> swap_in;   // Then, from host memory.
  std::vector<StepEntry> entries;       // Ordered by slot; at most one per slot.
  std::vector<int32_t> ends;            // Slots free again after this step.

  bool empty() const { return entries.empty() && starts.empty() && ends.empty() && copies.empty(); }
  uint32_t tokens() const {
    uint32_t sum = 0;
    for (const StepEntry& entry : entries) sum += static_cast<uint32_t>(entry.tokens.size());
    return sum;
  }
};

// A token that follows one whose guess was right.
struct FollowingToken {
  int32_t token = 0;
  TokenLogprobs logprobs;
  bool finite = true;  // As SampledToken has it.
};

struct SampledToken {
  int32_t slot = 0;
  int32_t token = 0;
  TokenLogprobs logprobs;  // id and top set where the sequence asks for them.
  // The log-probabilities of this step's chunk, where asked for.
  std::vector<TokenLogprobs> prompt_logprobs;
  std::vector<FollowingToken> following = {};  // One per right guess, in order.
  // A vector of length 1 (L2), where the sequence `embeds`; token is -1.
  std::vector<float> embedding = {};
  // False: among the logits, or the embedding's values, is an infinity or NaN, and what is said
  // here means nothing; `token` is one of the vocabulary all the same.
  bool finite = true;
};

struct StepResult {
  StepId id;
  // One per entry with `samples` or `prompt_logprobs` (token -1 where only the latter).
  std::vector<SampledToken> sampled;
  int64_t busy_us = 0;  // Time that the rank's device computed.
  // The same by rank, where an executor of several answers for them; a rank leaves it empty.
  std::vector<int64_t> rank_busy_us = {};
};

}  // namespace altlas
