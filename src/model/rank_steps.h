// RankSteps: a rank's books, the same for every kind of device: slots, block tables, checks of
// plans, guesses, pooling, results. What is computed, and where KV lies, is Forward's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/forward.h"
#include "model/rank.h"
#include "model/slot.h"
#include "model/step_tokens.h"

namespace altlas::model {

// Threads: as Rank.
class RankSteps final : public Rank {
 public:
  // end_of_generation: tokens that `min_tokens` bans. device: outlives the rank; read for its busy
  // time only.
  RankSteps(ReplicaShape shape, Pooling pooling, std::vector<int32_t> end_of_generation,
            std::unique_ptr<Forward> forward, const device::Device& device);

  const ReplicaShape& shape() const override { return shape_; }
  Result<StepResult> run(const StepPlan& step) override;
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override;
  void drop_adapter(uint32_t id) override { forward_->drop_adapter(id); }
  KvRange kv_range() const override { return forward_->kv_range(); }
  Result<KvBytes> export_kv(uint32_t adapter, uint32_t group, const KvRange& range,
                            std::span<const BlockId> blocks) const override;
  Result<void> import_kv(uint32_t adapter, const KvBytes& kv,
                         std::span<const BlockId> blocks) override;

 private:
  // A row of the step whose logits somebody wants.
  struct WantedRow {
    uint32_t row;               // Among the step's tokens.
    uint32_t result;            // Index in StepResult::sampled.
    uint32_t position;          // The position of the row's token.
    int32_t prompt_index = -1;  // ≥ 0: where in prompt_logprobs.
    bool samples = false;
    std::span<const int32_t> guessed = {};  // Guesses up to the row's token: as if they were said.
    const std::vector<uint64_t>* allowed = nullptr;  // As StepEntry::allowed.
  };
  // Guesses of a slot whose tokens are checked when the step is over.
  struct Guessed {
    uint32_t result;
    std::span<const int32_t> tokens;
  };
  // Rows of a prompt whose embedding is wanted.
  struct PooledRows {
    int32_t slot;
    uint32_t first_row, count;
    int32_t result;  // Index in StepResult::sampled once the prompt is whole; -1: not yet.
  };

  void forget_step(const StepPlan& step);
  Result<void> check_links(const StepPlan& step) const;
  Result<void> take_plan(const StepPlan& step);
  Result<void> apply_changes(const StepPlan& step);
  Result<void> start(const SlotStart& start);
  Result<void> set_table(SequenceSlot& slot, const kv::TableChange& change);
  Result<void> check_block(uint32_t group, BlockId block) const;
  Result<void> copy_block(const kv::BlockCopy& copy);
  Result<void> swap_block(const kv::BlockSwap& swap, bool out);
  Result<void> add_entry(const StepEntry& entry, uint32_t& rows);
  Result<void> check_entry(const StepEntry& entry, const SequenceSlot& slot, uint32_t rows) const;
  Result<void> check_guesses(const StepEntry& entry) const;
  void want_logits(const StepEntry& entry, std::span<const int32_t> tokens, uint32_t first_row);
  Result<void> want_embedding(const StepEntry& entry, const SequenceSlot& slot, uint32_t first_row);
  void run_draft();
  void keep_draft();
  void pool_prompts();
  void run_head();
  bool is_plain(const WantedRow& row) const;
  void take_best(std::span<const WantedRow> rows);
  HeadRow ask(const WantedRow& row, AskLists& lists);
  void take_token(const WantedRow& row, const BestToken& best);
  void take(const WantedRow& row, const HeadAnswer& answer);
  void keep_right_guesses();
  Result<SequenceSlot*> slot_at(int32_t slot);
  const SequenceSlot& slot_of(const WantedRow& row) const;
  Result<KvStamp> stamp(uint32_t adapter, const KvRange& range) const;
  Result<void> check_blocks(uint32_t group, std::span<const BlockId> blocks) const;

  const ReplicaShape shape_;
  const Pooling pooling_;
  std::vector<int32_t> end_of_generation_;  // Sorted.
  const std::unique_ptr<Forward> forward_;
  const device::Device& device_;
  std::vector<SequenceSlot> slots_;
  // The entries of the step that runs; kept for their capacity.
  std::vector<BatchEntry> entries_;
  std::vector<int32_t> pending_tokens_;
  std::vector<WantedRow> wanted_;
  std::vector<Guessed> guessed_;
  std::vector<PooledRows> pooled_;
  std::vector<float> hidden_;  // One row.
  // The tokens of entries that the draft model completes.
  std::vector<int32_t> guess_tokens_;
  std::vector<DraftEntry> draft_entries_;
  std::vector<uint32_t> rows_;
  std::vector<BestToken> best_;
  // The lists of as many rows as are sampled at once, as the next two.
  std::vector<AskLists> lists_;
  std::vector<HeadRow> asked_;
  std::vector<HeadAnswer> answers_;
  StepResult result_;
};

}  // namespace altlas::model
