// Forward: what a rank computes, and keeps on its device, of the steps that RankSteps keeps the
// books of. One implementation per kind of device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "device/device.h"
#include "kv/changes.h"
#include "model/model_file.h"
#include "model/rank.h"
#include "model/step_tokens.h"
#include "ops/sample/row_sampler.h"

namespace altlas::model {

struct Adapter;
struct RankPlan;

// A row of the step's tokens, and what its logits are asked. What `ask` refers to outlives the
// call.
struct HeadRow {
  uint32_t row = 0;
  ops::SampleAsk ask;
  bool reports = false;  // With ask.samples: the token's log-probability is wanted.
};

// What a row's logits say.
struct HeadAnswer {
  int32_t token = -1;       // Drawn, where the question samples.
  float logprob = 0;        // The logprob of `token`, where it is wanted.
  float known_logprob = 0;  // The logprob of ask.known.
  bool finite = true;       // No infinity or NaN was among what the answer is made of.
  uint32_t likely_count = 0;
  std::array<ops::TokenLogit, ops::kTopLogprobsMax> likely;  // With log-probabilities for logits.
};

// The likeliest token of a row, of equal ones the lowest id.
struct BestToken {
  int32_t token = 0;
  bool finite = true;  // As HeadAnswer has it.
};

// Some tokens of one slot: known ones, then room for guesses.
struct DraftEntry {
  std::span<int32_t> tokens;
  uint32_t guesses = 0;  // How many of the last of `tokens` are to be guessed.
  uint32_t position = 0;
  std::span<const std::vector<uint32_t>> tables;
};

// Its callers have checked what they pass against shape(): slots, groups, blocks, places, tokens
// and rows are there. Steps allocate nothing. Threads: the rank's, but for adapters.
class Forward {
 public:
  virtual ~Forward() = default;

  // Whether the rank is of the last stage: only then are hidden states and heads asked for.
  virtual bool gives_results() const = 0;
  // True if every rank of the group is ready for the step, and was for all before: whether this one
  // is, is `ready`. Each step of a rank asks once, before it computes.
  virtual bool all_ready(bool ready) = 0;

  // Ok unless ranks of other processes failed, or did not come in time, in this step or one before:
  // then what steps give means nothing.  Errors: as collective::Group's.
  virtual Result<void> failure() const = 0;

  // Most rows of one best_tokens(), and of one head().
  virtual uint32_t best_rows_max() const = 0;
  virtual uint32_t head_rows_max() const = 0;

  // Runs the layers over all tokens (at most step_tokens_max together), writing their KV. Their
  // hidden states stay until the next call: row i is the ith token in order of entries.
  virtual void forward(std::span<const BatchEntry> entries) = 0;
  // A row's hidden state as the head takes it; of encoders as it is. out: [embedding_size].
  virtual void final_hidden(uint32_t row, std::span<float> out) = 0;
  // The likeliest token of each row.
  virtual void best_tokens(std::span<const uint32_t> rows, std::span<BestToken> out) = 0;
  // An answer per row.
  virtual void head(std::span<const HeadRow> rows, std::span<HeadAnswer> answers) = 0;

  // The steps of the draft model, where the shape has one. guess() computes KV of the known tokens
  // and fills in the guesses, the likeliest token each; keep_last() computes KV of the last guess.
  virtual void guess(std::span<DraftEntry> entries) = 0;
  virtual void keep_last(std::span<const DraftEntry> entries) = 0;

  // The draft model's part of the blocks, too.
  virtual void copy_block(const kv::BlockCopy& copy) = 0;
  virtual void swap_block(const kv::BlockSwap& swap, bool out) = 0;

  // What the rank holds of the model: all layers and KV heads of its share.
  virtual KvRange kv_range() const = 0;
  // What tells this model's KV values from others' for equal tokens, alike on every machine.
  virtual uint64_t model_identity() const = 0;
  // Bytes of one block of the group, in the range.
  virtual uint64_t range_bytes(uint32_t group, const KvRange& range) const = 0;
  // Blocks one after the other, each [layers of the group within the range][heads]. The draft
  // model's part is not among them: its guesses are verified.
  virtual void export_blocks(uint32_t group, const KvRange& range, std::span<const BlockId> blocks,
                             std::span<std::byte> out) const = 0;
  virtual void import_blocks(uint32_t group, const KvRange& range, std::span<const BlockId> blocks,
                             std::span<const std::byte> bytes) = 0;

  // As Rank has them.
  virtual Result<uint64_t> load_adapter(uint32_t id, const std::string& path) = 0;
  virtual void drop_adapter(uint32_t id) = 0;
  // Null for 0 and for one that is not there. Its memory leaves once it is dropped and by all who
  // were given it.
  virtual std::shared_ptr<const Adapter> adapter(uint32_t id) const = 0;
};

// Loads weights and allocates what a step needs on the device; takes from `plan` what it keeps.
// Errors: as load_rank.
Result<std::unique_ptr<Forward>> load_forward(const ModelFile& file, RankPlan& plan,
                                              const LoadOptions& options, device::Device& device);

}  // namespace altlas::model
