// BatchScheduler: which sequences compute which tokens in the next step of a replica, and in which
// KV blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/result.h"
#include "kv/kv_cache.h"
#include "scheduler/guess.h"
#include "step/step_plan.h"
#include "task/task.h"

namespace altlas::scheduler {

struct BatchOptions {
  uint32_t sequences_max = 64;     // Slots of the ranks.
  uint32_t step_tokens_max = 512;  // Token budget of one step.
  // Prompt + generated tokens of one sequence; 0: what the KV pool holds.
  uint32_t model_len_max = 0;
  uint32_t waiting_max = 65'536;  // Sequences without a slot; the next is refused.
  uint64_t cache_salt = 0;        // Tells models and KV types apart in the prefix cache.
  // Steps that fill a pipeline of stages. Above 1 a sequence's next token is computed only once its
  // last one is known, and each step takes about this part of those that decode.
  uint32_t micro_batches = 1;
  // Tokens guessed ahead per step and sequence; 0: none. Models that keep state take none: a state
  // can't forget a wrong guess.
  uint32_t guesses_max = 0;
  // Steps with more tokens than this take no guesses: there a token costs as much as it gives.
  uint32_t guess_step_tokens = 32;
  bool draft_model = false;    // Guesses are the ranks' (kTokenGuessed), not prompt lookup's.
  uint64_t swap_block_ns = 0;  // To copy a block to host memory or back.
  uint64_t swap_state_ns = 0;  // To copy a sequence's states there or back.
  // To compute a token again; 0: unknown, whatever fits is swapped.
  uint64_t prefill_token_ns = 0;
  // A prompt is computed in one step: of encoders, whose tokens see those behind them.
  bool whole_prompts = false;
  kv::KvOptions kv;
};

struct SequenceWork {
  SequenceId id;
  TimeUs turn = 0;                 // Served in this order, the queue's (scheduler/queue.h).
  uint8_t level = 0;               // The level of its priority; 0 is served first.
  Prompt prompt;                   // At least one token.
  std::vector<int32_t> generated;  // By an earlier run; fewer than tokens_max.
  int32_t tokens_max = 1;          // Generated tokens at most, `generated` counted.
  SamplingParams sampling;
  uint32_t adapter = 0;     // As SequenceRequest has it.
  uint64_t cache_salt = 0;  // The adapter's.
  bool embeds = false;      // Its prompt's embedding is wanted: `generated` is empty, tokens_max 1.
  std::optional<uint64_t> arrival = std::nullopt;  // By take_arrival(); none: it arrives now.
};

// What a step gave one sequence.
struct SampledSequence {
  SequenceId sequence;
  std::vector<int32_t> tokens;          // Empty: only prompt_logprobs.
  std::vector<TokenLogprobs> logprobs;  // One per token.
  std::vector<TokenLogprobs> prompt_logprobs;
  std::vector<float> embedding;  // For a sequence that embeds: it has to be ended now.
  // False: what comes behind `tokens` was not finite, and the sequence has to be ended now.
  bool finite = true;
};

struct BatchCounters {
  uint64_t steps = 0;           // Planned.
  uint64_t step_sequences = 0;  // Sequences in them, added up over the steps.
  uint64_t preemptions = 0;
  uint64_t prompt_tokens = 0;     // Planned for computing, recomputed ones too.
  uint64_t cached_tokens = 0;     // Taken from the prefix cache instead.
  uint64_t generated_tokens = 0;  // Committed.
  uint64_t looked_up_tokens = 0;  // For sequences that got a slot: cached_tokens are some of them.
  uint64_t swapped_blocks = 0;    // Written to host memory.
  uint64_t guessed_tokens = 0;    // Committed.
  uint64_t right_guesses = 0;     // How many of them were right.
};

// Order of service: the turn, as the queue before the replicas has it, then arrival; so one of a
// low level is served before those of a higher one that came age_step later, and none starves. One
// that gives way keeps its turn. A waiting sequence takes the place of the last running one of a
// lower level whose turn is later, never of its own level's. Decode tokens go first, then chunks of
// prefill, then guesses of what follows decode tokens; the first in order always gets at least one
// token. Where blocks run out, the last in order gives its blocks back; later it is computed again,
// or its KV comes back from host memory, whichever is cheaper. Sequences without a slot come in
// strictly in order: none overtakes one that needs more room. Up to any number of steps may be
// planned before the first is committed: what is not known yet is kTokenPending. A sequence that
// sampled all of its tokens must be ended before the next plan(). Pure: no clock, no randomness.
// One writer: the replica's leading thread.
class BatchScheduler {
 public:
  explicit BatchScheduler(BatchOptions options);

  // Errors: kInvalid with the numbers if the sequence can never fit; kBusy if too many wait;
  // kConflict for a known id.
  Result<void> admit(SequenceWork work);
  // A place in the order of service for a sequence that is admitted later.
  uint64_t take_arrival() { return arrivals_++; }
  // The sequence is finished or cancelled. It gives its blocks up at once: those that others use
  // stay used, and those that the prefix tree knows are kept until the room is needed. False if it
  // is not known.
  bool end(SequenceId id);
  // What the sequence's next token must be one of, once its last token is known. Until it is told
  // of the token that was sampled, a sequence with a grammar computes nothing more.
  void allow(SequenceId id, AllowedTokens tokens);
  // The next step; empty if there is nothing to do (then it must not be launched).
  StepPlan plan();
  // Results come in the order of the plans. Nothing is said of sequences that ended meanwhile.
  std::vector<SampledSequence> commit(const StepResult& result);

  size_t running() const { return running_.size(); }
  size_t waiting() const { return waiting_.size(); }
  size_t in_flight() const { return in_flight_.size(); }
  bool knows(SequenceId id) const { return orders_.contains(id); }
  const kv::KvCache& kv() const { return kv_; }
  const BatchCounters& counters() const { return counters_; }
  // Prompt + generated tokens of the longest sequence that is admitted.
  uint64_t sequence_tokens_max() const;

  uint64_t hash() const;
  // Aborts on a broken invariant. O(blocks).
  void check_integrity() const;

 private:
  struct Order {
    TimeUs turn = 0;
    uint64_t arrival = 0;
    friend auto operator<=>(const Order&, const Order&) = default;
  };
  struct Sequence {
    SequenceId id;
    uint8_t level = 0;
    std::shared_ptr<const SequenceRequest> request;  // As the slot was started.
    std::vector<int32_t> tokens;                     // Prompt and generated, as far as committed.
    std::vector<kv::PayloadPlace> payloads;          // In the prompt.
    uint32_t prompt_tokens = 0;
    uint32_t tokens_max = 0;
    uint64_t salt = 0;
    uint32_t planned = 0;    // KV of positions below is there, or in flight.
    uint32_t computed = 0;   // KV of positions below is there.
    uint32_t pending = 0;    // Samples in flight.
    uint32_t in_flight = 0;  // Entries in flight.
    // Prompt positions below have given their log-probabilities, or will.
    uint32_t logprobs_from = 0;
    int32_t slot = -1;
    kv::SequenceBlocks blocks;
    kv::BlockChanges changes;   // Not told to the ranks yet.
    kv::SwappedBlocks swapped;  // While it has something in host memory.
    bool guessing = false;      // An entry with guesses is in flight.
    PromptLookup lookup;
    GuessPace pace;
    AllowedTokens allowed;  // For the token after the last known one.
  };
  using Sequences = std::map<Order, Sequence>;
  struct Draft {  // What the plan in the making does in a slot.
    Sequence* sequence = nullptr;
    bool starts = false;
    StepEntry entry;
    uint32_t logprobs_from_before = 0;
  };
  struct FlyingEntry {
    SequenceId sequence;
    int32_t slot = 0;
    uint32_t end = 0;  // Position after the entry's tokens.
    bool samples = false;
    bool prompt_logprobs = false;
    uint32_t guesses = 0;  // After `end`.
  };
  struct FlyingStep {
    StepId id;
    std::vector<FlyingEntry> entries;
  };

  uint32_t generated(const Sequence& s) const {
    return static_cast<uint32_t>(s.tokens.size()) - s.prompt_tokens;
  }
  uint32_t remaining(const Sequence& s) const;
  bool wants_logprobs(const Sequence& s) const;
  uint32_t chunk_max(const Sequence& s, uint32_t want) const;
  static bool decodes(const Sequence& s) { return s.planned >= s.prompt_tokens; }
  size_t decodes_max() const;
  void plan_decodes();
  void plan_prefills();
  void plan_guesses();
  void guess(Sequence& s, StepEntry& entry, uint32_t most);
  bool schedule(Sequences::iterator place, uint32_t want);
  bool try_admit(Sequences::iterator waiting);
  bool has_room(const Sequence& s, const kv::PrefixMatch& match, bool any_room) const;
  bool has_room_for_swapped(const Sequence& s, bool any_room) const;
  bool swap_pays(const Sequence& s) const;
  void start(Sequences::iterator waiting, const kv::PrefixMatch& match);
  void preempt(Sequences::iterator place);
  void take_sample(Sequence& s, const FlyingEntry& entry, const SampledToken& sampled,
                   SampledSequence& out);
  StepPlan assemble();

  const BatchOptions options_;
  kv::KvCache kv_;
  Sequences running_;  // With a slot.
  Sequences waiting_;
  std::map<SequenceId, Order> orders_;
  uint64_t arrivals_ = 0;
  uint64_t steps_ = 0;
  std::set<int32_t> free_slots_;
  std::vector<int32_t> ended_slots_;     // The ranks have not been told yet.
  std::vector<kv::BlockSwap> swap_out_;  // Not told either.
  std::deque<FlyingStep> in_flight_;
  std::map<int32_t, Draft> drafts_;  // By slot; empty between plans.
  uint32_t budget_ = 0;              // Tokens left of the step in the making.
  BatchCounters counters_;
};

}  // namespace altlas::scheduler
