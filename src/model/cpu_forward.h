// CpuForward: decoder or encoder, KV blocks, adapters and draft model in the memory of a device
// whose team of host threads computes.
#pragma once

#include <memory>
#include <vector>

#include "model/adapter_table.h"
#include "model/decoder.h"
#include "model/draft.h"
#include "model/encoder.h"
#include "model/forward.h"
#include "model/load_weights.h"
#include "model/rank_group.h"
#include "model/shape.h"

namespace altlas::model {

class CpuForward final : public Forward {
 public:
  // device: its memory is written by the host; outlives the result. Call it from the thread that
  // will carry out steps: that thread is pinned.  Errors: as load_rank.
  static Result<std::unique_ptr<Forward>> load(const ModelFile& file, RankPlan& plan,
                                               const LoadOptions& options, device::Device& device);

  bool gives_results() const override { return shard_.last; }
  bool all_ready(bool ready) override { return group_->all(rank_, ready); }
  Result<void> failure() const override;
  uint32_t best_rows_max() const override { return kHeadRowsMax; }
  uint32_t head_rows_max() const override { return head_rows_max_; }
  void forward(std::span<const BatchEntry> entries) override;
  void final_hidden(uint32_t row, std::span<float> out) override;
  void best_tokens(std::span<const uint32_t> rows, std::span<BestToken> out) override;
  void head(std::span<const HeadRow> rows, std::span<HeadAnswer> answers) override;
  void guess(std::span<DraftEntry> entries) override { draft_->guess(entries); }
  void keep_last(std::span<const DraftEntry> entries) override { draft_->keep_last(entries); }
  void copy_block(const kv::BlockCopy& copy) override;
  void swap_block(const kv::BlockSwap& swap, bool out) override;
  KvRange kv_range() const override {
    return {shard_.layers.begin, shard_.layers.end, shard_.kv_heads.begin, shard_.kv_heads.end};
  }
  uint64_t model_identity() const override { return identity_; }
  uint64_t range_bytes(uint32_t group, const KvRange& range) const override;
  void export_blocks(uint32_t group, const KvRange& range, std::span<const BlockId> blocks,
                     std::span<std::byte> out) const override;
  void import_blocks(uint32_t group, const KvRange& range, std::span<const BlockId> blocks,
                     std::span<const std::byte> bytes) override;
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override;
  void drop_adapter(uint32_t id) override { adapters_.drop(id); }
  std::shared_ptr<const Adapter> adapter(uint32_t id) const override { return adapters_.find(id); }

 private:
  CpuForward(RankPlan& plan, const LoadOptions& options, device::Device& device)
      : config_(std::move(plan.config)),
        shard_(std::move(plan.shard)),
        layout_(plan.layout),
        groups_(std::move(plan.groups)),
        adapter_rank_max_(options.adapter_rank_max),
        rank_(options.shard.tp_rank - (options.group ? options.group->first_rank() : 0)),
        group_(options.group),
        device_(device) {}
  Result<void> allocate(const ModelFile& file, RankPlan& plan, const LoadOptions& options);
  Result<Workspace<Arena>> allocate_workspace(const RankPlan& plan);
  Result<void> share_plans(const RankShard& shard);
  void open_decoder(const RankPlan& plan, Workspace<Arena> workspace, OpTimes* times);
  Result<void> allocate_kv(const ReplicaShape& shape);
  void answer(const HeadRow& row, uint32_t thread, size_t place);
  const KvGroup* draft_group(uint32_t group) const;
  void for_each_part(uint32_t group, const KvRange& range, std::span<const BlockId> blocks,
                     const auto& each) const;

  const Hyperparameters config_;
  const ShardPlan shard_;
  const ops::KvLayout layout_;
  std::vector<KvGroup> groups_;
  const uint32_t adapter_rank_max_;
  const uint32_t rank_;  // In the group: of those of its stage in this process.
  std::shared_ptr<RankGroup> group_;
  device::Device& device_;
  uint64_t identity_ = 0;
  device::Buffer weight_buffer_, workspace_, shared_workspace_;
  std::vector<device::Buffer> kv_;
  std::vector<uint64_t> place_bytes_;               // Per KV group, of a block in host memory.
  std::vector<std::unique_ptr<std::byte[]>> host_;  // Per KV group: [swap_places][layers][block].
  DecoderWeights weights_;
  std::unique_ptr<LayerStream> stream_;  // Null: all layers are in memory.
  std::unique_ptr<Decoder> decoder_;     // Null: encoder_ is there.
  std::unique_ptr<Encoder> encoder_;
  AdapterTable adapters_;
  std::unique_ptr<DraftModel> draft_;  // Null: none.
  uint32_t head_rows_max_ = 0;
  RankGroup::Shared* shared_ = nullptr;  // The group's; null for encoders.
  std::vector<uint32_t> rows_;           // The rows of the call; kept for its capacity.
};

}  // namespace altlas::model
