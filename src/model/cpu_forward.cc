#include "model/cpu_forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "base/units.h"
#include "ops/sample/sample.h"

namespace altlas::model {
namespace {

// Copies a block of the group, layer by layer, between the layers' memory and `host`.
std::byte* swap_layers(const KvGroup& group, const ops::KvLayout& layout, uint32_t block, bool out,
                       std::byte* host) {
  const size_t bytes = layout.block_bytes();
  for (size_t layer = 0; layer < group.layers.size(); ++layer, host += bytes) {
    std::byte* own = group.layer_data(layout, layer) + block * bytes;
    std::memcpy(out ? host : own, out ? own : host, bytes);
  }
  return host;
}

void copy_layers(const KvGroup& group, const ops::KvLayout& layout, uint32_t from, uint32_t to) {
  const size_t bytes = layout.block_bytes();
  for (size_t layer = 0; layer < group.layers.size(); ++layer) {
    std::byte* data = group.layer_data(layout, layer);
    std::memcpy(data + to * bytes, data + from * bytes, bytes);
  }
}

}  // namespace

Result<std::unique_ptr<Forward>> CpuForward::load(const ModelFile& file, RankPlan& plan,
                                                  const LoadOptions& options,
                                                  device::Device& device) {
  std::unique_ptr<CpuForward> out(new CpuForward(plan, options, device));
  ALTLAS_TRY_VOID(out->allocate(file, plan, options));
  return std::unique_ptr<Forward>(std::move(out));
}

Result<void> CpuForward::allocate(const ModelFile& file, RankPlan& plan,
                                  const LoadOptions& options) {
  const ReplicaShape& shape = plan.shape;
  device::Team& team = device_.team();
  team.adopt_caller();
  ALTLAS_TRY(identity_, file.identity());
  ALTLAS_TRY(LoadedWeights loaded, load_weights(file, shard_, options, plan.weight_bytes, device_));
  weight_buffer_ = std::move(loaded.buffer);
  weights_ = std::move(loaded.weights);
  if (!plan.stream.layers.empty())
    stream_ = std::make_unique<LayerStream>(weight_buffer_.data(), std::move(plan.stream));
  ALTLAS_TRY(const Workspace<Arena> workspace, allocate_workspace(plan));
  ALTLAS_TRY_VOID(allocate_kv(shape));
  for (size_t i = 0; i < plan.adapters.size(); ++i)
    ALTLAS_TRY_VOID(adapters_.keep(static_cast<uint32_t>(i) + 1, plan.adapters[i], device_));
  ALTLAS_TRY_VOID(share_plans(options.shard));
  if (shape.generates)
    open_decoder(plan, workspace, options.times);
  else
    encoder_ =
        std::make_unique<Encoder>(EncoderPart{config_, weights_, layout_, shape.step_tokens_max},
                                  groups_[0], workspace.own, team);
  if (plan.draft) {
    ALTLAS_TRY(draft_,
               DraftModel::load(std::move(plan.draft), options, shape.step_tokens_max, device_));
  }
  return {};
}

// Tells the link of the stage what each of its ranks has.
Result<void> CpuForward::share_plans(const RankShard& shard) {
  if (rank_ != 0 || !group_->splits()) return {};
  ALTLAS_TRY(std::vector<ShardPlan> plans,
             shard_plans(config_, shard.tp_size, shard.tensor_split, shard.ep_size));
  group_->link()->set_plans(std::move(plans));
  return {};
}

Result<void> CpuForward::failure() const {
  return group_->link() == nullptr ? Result<void>() : group_->link()->failure();
}

// What the group shares lies behind the rank's own where the rank is alone.
Result<Workspace<Arena>> CpuForward::allocate_workspace(const RankPlan& plan) {
  const Workspace<uint64_t>& bytes = plan.activation_bytes;
  if (group_ == nullptr) {
    const uint32_t threads[] = {device_.team().size()};
    group_ = std::make_shared<RankGroup>(threads);
  }
  ALTLAS_CHECK(rank_ < group_->size(), "a rank of its group");
  if (group_->size() == 1) {
    ALTLAS_TRY(workspace_, device_.allocate("activations", bytes.own + bytes.shared));
    std::byte* memory = workspace_.data();
    return Workspace<Arena>{{memory, bytes.own}, {memory + bytes.own, bytes.shared}};
  }
  ALTLAS_TRY(workspace_, device_.allocate("activations", bytes.own));
  ALTLAS_TRY(shared_workspace_, group_->share_workspace(rank_, bytes.shared, device_));
  return Workspace<Arena>{{workspace_.data(), bytes.own},
                          {group_->workspace(), bytes.shared * group_->size()}};
}

void CpuForward::open_decoder(const RankPlan& plan, Workspace<Arena> workspace, OpTimes* times) {
  const uint32_t tokens_max = plan.shape.step_tokens_max;
  group_->publish(rank_, {&weights_, shard_.vocab});
  decoder_ =
      std::make_unique<Decoder>(DecoderPart{config_, shard_, weights_, layout_, tokens_max},
                                groups_, workspace, RankTeam{&device_.team(), group_.get(), rank_});
  decoder_->measure(times);
  decoder_->stream(stream_.get());
  head_rows_max_ = std::min(kSampledRowsMax, tokens_max);
  if (!shard_.last) return;
  shared_ = &group_->shared([&](RankGroup::Shared& shared) {
    for (size_t i = 0; i < head_rows_max_; ++i)
      shared.samplers.emplace_back(decoder_->head().sampler_memory(i), config_.vocab_size,
                                   group_->threads());
    shared.answers.resize(head_rows_max_);
  });
  rows_.reserve(head_rows_max_);
}

Result<void> CpuForward::allocate_kv(const ReplicaShape& shape) {
  for (size_t g = 0; g < groups_.size(); ++g) {
    KvGroup& group = groups_[g];
    ALTLAS_TRY(device::Buffer buffer,
               device_.allocate("kv", group.blocks * group.block_bytes(layout_)));
    group.data = buffer.data();
    kv_.push_back(std::move(buffer));
    place_bytes_.push_back(shape.groups[g].block_bytes);
    const uint64_t bytes = shape.swap_places * place_bytes_.back();
    host_.emplace_back(bytes == 0 ? nullptr : new (std::nothrow) std::byte[bytes]);
    if (bytes > 0 && host_.back() == nullptr)
      return invalid(fmt::format("swap_bytes: the host has no {} for {} KV blocks of a group",
                                 format_bytes(bytes), shape.swap_places),
                     "swap_bytes");
  }
  return {};
}

void CpuForward::forward(std::span<const BatchEntry> entries) {
  if (encoder_)
    encoder_->forward(entries);
  else
    decoder_->forward(entries);
}

void CpuForward::final_hidden(uint32_t row, std::span<float> out) {
  if (encoder_)
    std::ranges::copy(encoder_->hidden(row), out.begin());
  else
    decoder_->head().final_hidden(row, out);
}

void CpuForward::best_tokens(std::span<const uint32_t> rows, std::span<BestToken> out) {
  std::array<int32_t, kHeadRowsMax> tokens;
  decoder_->head().best_tokens(rows, std::span(tokens).first(rows.size()));
  for (size_t i = 0; i < rows.size(); ++i) out[i] = {tokens[i], decoder_->head().finite(i)};
}

void CpuForward::head(std::span<const HeadRow> rows, std::span<HeadAnswer> answers) {
  rows_.clear();
  for (size_t i = 0; i < rows.size(); ++i) {
    rows_.push_back(rows[i].row);
    if (rank_ == 0) shared_->samplers[i].begin(rows[i].ask);
  }
  decoder_->head().run(
      rows_,
      [&](uint32_t thread, size_t i, size_t first, float* logits, size_t count) {
        shared_->samplers[i].look(thread, first, logits, count);
      },
      [&](uint32_t thread, size_t i) { answer(rows[i], thread, i); });
  std::copy_n(shared_->answers.begin(), rows.size(), answers.begin());
}

// Answers the row at `place` of those that the head takes at once, after all its logits were seen.
// Threads: any of the group; one per row.
void CpuForward::answer(const HeadRow& row, uint32_t thread, size_t place) {
  ops::RowSampler& sampler = shared_->samplers[place];
  HeadAnswer& out = shared_->answers[place];
  const auto again = [&](size_t first, size_t count, float* logits) {
    decoder_->head().logits_again(thread, place, first, count, logits);
  };
  out.likely_count = 0;
  out.finite = decoder_->head().finite(place);
  ops::LogSum sum;
  if (row.ask.likely >= 0) {
    sum = sampler.log_sum();
    out.likely_count = static_cast<uint32_t>(sampler.likeliest(out.likely));
    for (ops::TokenLogit& one : std::span(out.likely).first(out.likely_count))
      one.logit = ops::logprob(one.logit, sum);
  }
  if (row.ask.known >= 0) out.known_logprob = ops::logprob(sampler.known_logit(), sum);
  if (!row.ask.samples) return;
  out.token = sampler.choose(again);
  // The log-probability is that of the model's own distribution, before anything changed the
  // logits.
  if (row.reports) out.logprob = ops::logprob(sampler.logit_of(out.token, again), sum);
}

// The draft model's part of a KV group's blocks, or null.
const KvGroup* CpuForward::draft_group(uint32_t group) const {
  return draft_ && group < draft_->groups().size() ? &draft_->groups()[group] : nullptr;
}

void CpuForward::copy_block(const kv::BlockCopy& copy) {
  copy_layers(groups_[copy.group], layout_, copy.from.value, copy.to.value);
  if (const KvGroup* draft = draft_group(copy.group))
    copy_layers(*draft, draft_->layout(), copy.from.value, copy.to.value);
}

void CpuForward::swap_block(const kv::BlockSwap& swap, bool out) {
  std::byte* host = host_[swap.group].get() + swap.place * place_bytes_[swap.group];
  host = swap_layers(groups_[swap.group], layout_, swap.block.value, out, host);
  if (const KvGroup* draft = draft_group(swap.group))
    swap_layers(*draft, draft_->layout(), swap.block.value, out, host);
}

uint64_t CpuForward::range_bytes(uint32_t group, const KvRange& range) const {
  const auto layers = std::ranges::count_if(groups_[group].layers, [&](uint32_t layer) {
    return range.layer_begin <= layer && layer < range.layer_end;
  });
  return static_cast<uint64_t>(layers) * (range.head_end - range.head_begin) * layout_.head_bytes();
}

// Calls each(bytes of the group's memory) for what lies within the range, block by block, with each
// block's layers in ascending order.
void CpuForward::for_each_part(uint32_t group, const KvRange& range,
                               std::span<const BlockId> blocks, const auto& each) const {
  const KvGroup& of = groups_[group];
  const size_t heads = size_t{range.head_end} - range.head_begin;
  for (const BlockId block : blocks)
    for (size_t i = 0; i < of.layers.size(); ++i) {
      if (of.layers[i] < range.layer_begin || of.layers[i] >= range.layer_end) continue;
      std::byte* data = of.layer_data(layout_, i) + block.value * layout_.block_bytes();
      each(std::span(data + (range.head_begin - shard_.kv_heads.begin) * layout_.head_bytes(),
                     heads * layout_.head_bytes()));
    }
}

void CpuForward::export_blocks(uint32_t group, const KvRange& range,
                               std::span<const BlockId> blocks, std::span<std::byte> out) const {
  for_each_part(group, range, blocks, [&](std::span<const std::byte> part) {
    std::memcpy(out.data(), part.data(), part.size());
    out = out.subspan(part.size());
  });
}

void CpuForward::import_blocks(uint32_t group, const KvRange& range,
                               std::span<const BlockId> blocks, std::span<const std::byte> bytes) {
  for_each_part(group, range, blocks, [&](std::span<std::byte> part) {
    std::memcpy(part.data(), bytes.data(), part.size());
    bytes = bytes.subspan(part.size());
  });
}

Result<uint64_t> CpuForward::load_adapter(uint32_t id, const std::string& path) {
  ALTLAS_TRY(const CheckedAdapter file, CheckedAdapter::open(path, config_, adapter_rank_max_));
  return adapters_.keep(id, file, device_);
}

}  // namespace altlas::model
