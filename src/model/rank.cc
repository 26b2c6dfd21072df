#include "model/rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <span>

#include "base/units.h"
#include "model/adapter_table.h"
#include "model/decoder.h"
#include "model/encoder.h"
#include "model/load_weights.h"
#include "model/shape.h"
#include "model/slot.h"
#include "ops/sample/row_sampler.h"
#include "ops/sample/sample.h"

namespace altlas::model {
namespace {

class CpuRank final : public Rank {
 public:
  CpuRank(RankPlan plan, const LoadOptions& options, device::CpuDevice& device)
      : plan_(std::move(plan)),
        end_of_generation_(options.end_of_generation),
        adapter_rank_max_(options.adapter_rank_max),
        device_(device) {
    std::ranges::sort(end_of_generation_);
  }

  Result<void> allocate(const ModelFile& file, const LoadOptions& options);
  const ReplicaShape& shape() const override { return plan_.shape; }
  Result<StepResult> run(const StepPlan& step) override;
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override;
  void drop_adapter(uint32_t id) override { adapters_.drop(id); }

 private:
  // A row of the step whose logits somebody wants.
  struct HeadRow {
    uint32_t row;               // Among the step's tokens.
    uint32_t result;            // Index in StepResult::sampled.
    uint32_t position;          // Of the row's token.
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

  Result<void> apply_changes(const StepPlan& step);
  Result<void> set_blocks(const SlotBlocks& change);
  Result<void> copy_block(const BlockCopy& copy);
  Result<void> swap_block(const BlockSwap& swap, bool out);
  const KvGroup* draft_group(int32_t group) const;
  void run_draft();
  void keep_draft();
  Result<void> add_entry(const StepEntry& entry, uint32_t& rows);
  Result<void> check_guesses(const StepEntry& entry) const;
  void want_logits(const StepEntry& entry, std::span<const int32_t> tokens, uint32_t first_row);
  bool is_plain(const HeadRow& row) const;
  void take_best(std::span<const HeadRow> rows);
  void run_head();
  void ask(const HeadRow& row, SampledRow& sampled);
  void take(const HeadRow& row, uint32_t thread, size_t place);
  void keep_right_guesses();
  Result<void> want_embedding(const StepEntry& entry, const Slot& slot, uint32_t first_row);
  void pool_prompts();
  Result<Slot*> slot_at(int32_t slot);

  RankPlan plan_;                           // Const once allocated.
  std::vector<int32_t> end_of_generation_;  // Sorted.
  const uint32_t adapter_rank_max_;
  device::CpuDevice& device_;
  device::Buffer weight_buffer_, workspace_;
  std::vector<device::Buffer> kv_;
  std::vector<std::unique_ptr<std::byte[]>> host_;  // Per KV group: [swap_places][layers][block].
  std::vector<KvGroup> groups_;
  DecoderWeights weights_;
  std::unique_ptr<Decoder> decoder_;  // Null: encoder_ is there.
  std::unique_ptr<Encoder> encoder_;
  AdapterTable adapters_;
  std::unique_ptr<DraftModel> draft_;  // Null: none.
  std::vector<Slot> slots_;
  // Of the step that runs; kept for their capacity.
  std::vector<BatchEntry> entries_;
  std::vector<int32_t> pending_tokens_;
  std::vector<HeadRow> head_rows_;
  std::vector<Guessed> guessed_;
  std::vector<PooledRows> pooled_;
  std::vector<float> hidden_;          // One row.
  std::vector<int32_t> guess_tokens_;  // Of entries that the draft model completes.
  std::vector<DraftEntry> draft_entries_;
  std::vector<uint32_t> rows_;
  std::vector<int32_t> best_;
  std::vector<SampledRow> sampled_;  // Of as many rows as are sampled at once.
  StepResult result_;
};

Error broken(std::string message) { return invalid("step plan: " + std::move(message)); }

Result<void> CpuRank::allocate(const ModelFile& file, const LoadOptions& options) {
  const ReplicaShape& shape = plan_.shape;
  device_.team().adopt_caller();
  ALTLAS_TRY(LoadedWeights loaded, load_weights(file, options, plan_.weight_bytes, device_));
  weight_buffer_ = std::move(loaded.buffer);
  weights_ = std::move(loaded.weights);
  ALTLAS_TRY(workspace_, device_.allocate("activations", plan_.activation_bytes));
  groups_ = plan_.groups;
  for (KvGroup& group : groups_) {
    ALTLAS_TRY(device::Buffer buffer,
               device_.allocate("kv", group.blocks * group.block_bytes(plan_.layout)));
    group.data = buffer.data();
    kv_.push_back(std::move(buffer));
  }
  for (size_t i = 0; i < plan_.adapters.size(); ++i)
    ALTLAS_TRY_VOID(adapters_.keep(static_cast<uint32_t>(i) + 1, plan_.adapters[i], device_));
  plan_.adapters.clear();
  for (size_t g = 0; g < groups_.size(); ++g) {
    const uint64_t bytes = shape.swap_places * shape.group_block_bytes[g];
    host_.emplace_back(bytes == 0 ? nullptr : new (std::nothrow) std::byte[bytes]);
    if (bytes > 0 && host_.back() == nullptr)
      return invalid(fmt::format("swap_bytes: the host has no {} for {} KV blocks of a group",
                                 format_bytes(bytes), shape.swap_places),
                     "swap_bytes");
  }
  const Arena workspace(workspace_.data(), workspace_.size());
  if (shape.generates) {
    decoder_ = std::make_unique<Decoder>(plan_.config, weights_, groups_, plan_.layout,
                                         shape.step_tokens_max, workspace, device_.team());
    decoder_->measure(options.times);
    for (size_t i = 0; i < std::min(kSampledRowsMax, shape.step_tokens_max); ++i)
      sampled_.push_back({ops::RowSampler(decoder_->sampler_memory(i), plan_.config.vocab_size,
                                          device_.team().size()),
                          {},
                          {}});
  } else {
    encoder_ = std::make_unique<Encoder>(plan_.config, weights_, groups_[0], plan_.layout,
                                         shape.step_tokens_max, workspace, device_.team());
  }
  hidden_.resize(plan_.config.hidden);
  if (plan_.draft) {
    ALTLAS_TRY(draft_,
               DraftModel::load(std::move(plan_.draft), options, shape.step_tokens_max, device_));
    guess_tokens_.reserve(shape.step_tokens_max);
  }
  slots_.resize(shape.sequences_max);
  const uint32_t blocks_max = (shape.model_len_max + shape.block_tokens - 1) / shape.block_tokens;
  for (Slot& slot : slots_) {
    slot.tables.resize(groups_.size());
    for (auto& table : slot.tables) table.reserve(blocks_max);
  }
  entries_.reserve(shape.sequences_max);
  pending_tokens_.reserve(shape.sequences_max);
  head_rows_.reserve(shape.step_tokens_max);
  rows_.reserve(kHeadRowsMax);
  best_.reserve(kHeadRowsMax);
  if (options.progress) options.progress("kv", 1);
  return {};
}

Result<uint64_t> CpuRank::load_adapter(uint32_t id, const std::string& path) {
  if (!plan_.shape.generates)
    return invalid("this model only gives embeddings: LoRA adapters are not supported for it");
  ALTLAS_TRY(const AdapterFile file, AdapterFile::open(path, plan_.config, adapter_rank_max_));
  return adapters_.keep(id, file, device_);
}

Result<Slot*> CpuRank::slot_at(int32_t slot) {
  if (slot < 0 || static_cast<size_t>(slot) >= slots_.size())
    return broken(fmt::format("there is no slot {}", slot));
  return &slots_[static_cast<size_t>(slot)];
}

Result<void> CpuRank::set_blocks(const SlotBlocks& change) {
  ALTLAS_TRY(Slot * slot, slot_at(change.slot));
  if (change.group < 0 || static_cast<size_t>(change.group) >= groups_.size())
    return broken(fmt::format("there is no KV group {}", change.group));
  auto& table = slot->tables[static_cast<size_t>(change.group)];
  const size_t end = size_t{change.first_index} + change.blocks.size();
  if (change.first_index > table.size() || end > table.capacity())
    return broken(
        fmt::format("blocks {} to {} of a table of {}", change.first_index, end, table.size()));
  table.resize(std::max(table.size(), end));
  for (size_t i = 0; i < change.blocks.size(); ++i) {
    if (change.blocks[i].value >= groups_[static_cast<size_t>(change.group)].blocks)
      return broken(fmt::format("there is no KV block {}", change.blocks[i].value));
    table[change.first_index + i] = change.blocks[i].value;
  }
  return {};
}

Result<void> CpuRank::copy_block(const BlockCopy& copy) {
  if (copy.group < 0 || static_cast<size_t>(copy.group) >= groups_.size())
    return broken(fmt::format("there is no KV group {}", copy.group));
  const KvGroup& group = groups_[static_cast<size_t>(copy.group)];
  if (copy.from.value >= group.blocks || copy.to.value >= group.blocks)
    return broken(fmt::format("there is no KV block {}", std::max(copy.from.value, copy.to.value)));
  const size_t bytes = plan_.layout.block_bytes();
  for (size_t layer = 0; layer < group.layers.size(); ++layer) {
    std::byte* data = group.layer_data(plan_.layout, layer);
    std::memcpy(data + copy.to.value * bytes, data + copy.from.value * bytes, bytes);
  }
  if (const KvGroup* draft = draft_group(copy.group)) {
    const size_t draft_bytes = draft_->layout().block_bytes();
    for (size_t layer = 0; layer < draft->layers.size(); ++layer) {
      std::byte* data = draft->layer_data(draft_->layout(), layer);
      std::memcpy(data + copy.to.value * draft_bytes, data + copy.from.value * draft_bytes,
                  draft_bytes);
    }
  }
  return {};
}

Result<void> CpuRank::swap_block(const BlockSwap& swap, bool out) {
  if (swap.group < 0 || static_cast<size_t>(swap.group) >= groups_.size())
    return broken(fmt::format("there is no KV group {}", swap.group));
  const KvGroup& group = groups_[static_cast<size_t>(swap.group)];
  if (swap.block.value >= group.blocks || swap.place >= plan_.shape.swap_places)
    return broken(fmt::format("there is no KV block {} or no place {} in host memory",
                              swap.block.value, swap.place));
  const size_t bytes = plan_.layout.block_bytes();
  std::byte* host = host_[static_cast<size_t>(swap.group)].get() +
                    swap.place * plan_.shape.group_block_bytes[static_cast<size_t>(swap.group)];
  for (size_t layer = 0; layer < group.layers.size(); ++layer, host += bytes) {
    std::byte* block = group.layer_data(plan_.layout, layer) + swap.block.value * bytes;
    std::memcpy(out ? host : block, out ? block : host, bytes);
  }
  const KvGroup* draft = draft_group(swap.group);
  for (size_t layer = 0; draft != nullptr && layer < draft->layers.size(); ++layer) {
    const size_t draft_bytes = draft_->layout().block_bytes();
    std::byte* block = draft->layer_data(draft_->layout(), layer) + swap.block.value * draft_bytes;
    std::memcpy(out ? host : block, out ? block : host, draft_bytes);
    host += draft_bytes;
  }
  return {};
}

// The draft model's part of a KV group's blocks, or null.
const KvGroup* CpuRank::draft_group(int32_t group) const {
  const auto index = static_cast<size_t>(group);
  return draft_ && index < draft_->groups().size() ? &draft_->groups()[index] : nullptr;
}

Result<void> CpuRank::apply_changes(const StepPlan& step) {
  for (const SlotStart& start : step.starts) {
    ALTLAS_TRY(Slot * slot, slot_at(start.slot));
    if (start.request == nullptr)
      return broken(fmt::format("slot {} starts without a request", start.slot));
    auto adapter = adapters_.find(start.request->adapter);
    if (start.request->adapter != 0 && adapter == nullptr)
      return broken(fmt::format("there is no adapter {}", start.request->adapter));
    slot->start(start.request, std::move(adapter),
                std::min(plan_.shape.model_len_max, plan_.config.vocab_size));
    for (SampledRow& row : sampled_) row.make_room(*slot, end_of_generation_.size());
  }
  for (const SlotBlocks& change : step.blocks) ALTLAS_TRY_VOID(set_blocks(change));
  for (const BlockSwap& swap : step.swap_out) ALTLAS_TRY_VOID(swap_block(swap, /*out=*/true));
  for (const BlockCopy& copy : step.copies) ALTLAS_TRY_VOID(copy_block(copy));
  for (const BlockSwap& swap : step.swap_in) ALTLAS_TRY_VOID(swap_block(swap, /*out=*/false));
  return {};
}

Result<void> CpuRank::check_guesses(const StepEntry& entry) const {
  if (entry.guesses == 0) return {};
  if (!entry.samples || entry.prompt_logprobs || entry.guesses >= entry.tokens.size())
    return broken(fmt::format("slot {} has {} guesses among {} tokens", entry.slot, entry.guesses,
                              entry.tokens.size()));
  const auto open = static_cast<size_t>(std::ranges::count(entry.tokens, kTokenGuessed));
  if (open > 0 && (!draft_ || open != entry.guesses ||
                   entry.tokens[entry.tokens.size() - open] != kTokenGuessed))
    return broken(
        fmt::format("slot {} has {} tokens for a draft model to guess", entry.slot, open));
  return {};
}

Result<void> CpuRank::add_entry(const StepEntry& entry, uint32_t& rows) {
  ALTLAS_TRY(Slot * slot, slot_at(entry.slot));
  if (slot->request == nullptr) return broken(fmt::format("slot {} is free", entry.slot));
  if (entry.tokens.empty()) return broken(fmt::format("slot {} computes no token", entry.slot));
  if (entries_.size() == slots_.size() || rows + entry.tokens.size() > plan_.shape.step_tokens_max)
    return broken(fmt::format("more than {} tokens or {} entries", plan_.shape.step_tokens_max,
                              slots_.size()));
  const uint64_t end = uint64_t{entry.position} + entry.tokens.size();
  if (end > plan_.shape.model_len_max)
    return broken(
        fmt::format("slot {} goes past {} tokens", entry.slot, plan_.shape.model_len_max));
  for (const auto& table : slot->tables)
    if (uint64_t{table.size()} * plan_.shape.block_tokens < end)
      return broken(fmt::format("slot {} has KV for {} of {} tokens", entry.slot,
                                table.size() * plan_.shape.block_tokens, end));
  ALTLAS_TRY_VOID(check_guesses(entry));
  std::span<const int32_t> tokens = entry.tokens;
  if (tokens[0] == kTokenPending && tokens.size() == 1) {
    if (slot->last_token < 0)
      return broken(fmt::format("slot {} has sampled no token yet", entry.slot));
    pending_tokens_.push_back(slot->last_token);  // Never reallocates: at most one per slot.
    tokens = {&pending_tokens_.back(), 1};
  }
  if (draft_) {  // It writes its guesses there. Never reallocates: at most step_tokens_max.
    guess_tokens_.insert(guess_tokens_.end(), tokens.begin(), tokens.end());
    const auto own = std::span<int32_t>(guess_tokens_).last(tokens.size());
    draft_entries_.push_back({.tokens = own,
                              .guesses = entry.tokens.back() == kTokenGuessed ? entry.guesses : 0,
                              .position = entry.position,
                              .tables = slot->tables});
    tokens = own;
  }
  const size_t open = draft_ ? draft_entries_.back().guesses : 0;
  for (const int32_t id : tokens.first(tokens.size() - open))
    if (id < 0 || static_cast<uint32_t>(id) >= plan_.config.vocab_size)
      return broken(
          fmt::format("there is no token {}: the model has {}", id, plan_.config.vocab_size));
  entries_.push_back({.tokens = tokens,
                      .position = entry.position,
                      .tables = slot->tables,
                      .adapter = slot->adapter.get()});
  if (slot->request->embeds) {
    ALTLAS_TRY_VOID(want_embedding(entry, *slot, rows));
  } else if (encoder_) {
    return broken(fmt::format("slot {} wants tokens of a model that only embeds", entry.slot));
  } else {
    want_logits(entry, tokens, rows);
  }
  rows += static_cast<uint32_t>(tokens.size());
  return {};
}

Result<void> CpuRank::want_embedding(const StepEntry& entry, const Slot& slot, uint32_t first_row) {
  const size_t prompt = slot.request->prompt.size(), end = entry.position + entry.tokens.size();
  if (entry.position != slot.pool.count() || entry.samples != (end == prompt) || end > prompt ||
      entry.prompt_logprobs || entry.guesses > 0 || (encoder_ && !entry.samples))
    return broken(fmt::format("slot {} embeds {} tokens, and computes {} from {}", entry.slot,
                              prompt, entry.tokens.size(), entry.position));
  pooled_.push_back({entry.slot, first_row, static_cast<uint32_t>(entry.tokens.size()),
                     entry.samples ? static_cast<int32_t>(result_.sampled.size()) : -1});
  if (!entry.samples) return {};
  SampledToken& out = result_.sampled.emplace_back();
  out.slot = entry.slot;
  out.token = -1;
  return {};
}

void CpuRank::pool_prompts() {
  for (const PooledRows& rows : pooled_) {
    Slot& slot = slots_[static_cast<size_t>(rows.slot)];
    for (uint32_t row = rows.first_row; row < rows.first_row + rows.count; ++row) {
      if (encoder_)
        std::ranges::copy(encoder_->hidden(row), hidden_.begin());
      else
        decoder_->final_hidden(row, hidden_);
      slot.pool.add(plan_.config.pooling, hidden_);
    }
    if (rows.result >= 0)
      result_.sampled[static_cast<size_t>(rows.result)].embedding = slot.pool.take();
  }
}

void CpuRank::want_logits(const StepEntry& entry, std::span<const int32_t> tokens,
                          uint32_t first_row) {
  if (!entry.samples && !entry.prompt_logprobs) return;
  const auto result = static_cast<uint32_t>(result_.sampled.size());
  SampledToken& out = result_.sampled.emplace_back();
  out.slot = entry.slot;
  out.token = -1;
  const auto count = static_cast<uint32_t>(entry.tokens.size());
  if (entry.prompt_logprobs) {
    const size_t prompt = slots_[static_cast<size_t>(entry.slot)].request->prompt.size();
    const size_t known = prompt > entry.position + 1 ? prompt - entry.position - 1
                                                     : 0;  // Tokens that follow the chunk's first.
    out.prompt_logprobs.resize(std::min<size_t>(count, known));
    for (uint32_t i = 0; i < out.prompt_logprobs.size(); ++i)
      head_rows_.push_back({first_row + i,
                            result,
                            entry.position + i,
                            static_cast<int32_t>(i),
                            entry.samples && i + 1 == count,
                            {},
                            entry.allowed.get()});
    if (entry.samples && out.prompt_logprobs.size() == count) return;
  }
  if (!entry.samples) return;
  const uint32_t known = count - entry.guesses;
  for (uint32_t i = known - 1; i < count; ++i)
    head_rows_.push_back({first_row + i, result, entry.position + i, -1, true,
                          tokens.subspan(known, i + 1 - known), entry.allowed.get()});
  out.following.resize(entry.guesses);
  if (entry.guesses > 0) guessed_.push_back({result, tokens.subspan(known)});
}

// What a row wants of its logits.
void CpuRank::ask(const HeadRow& row, SampledRow& sampled) {
  const Slot& slot = slots_[static_cast<size_t>(result_.sampled[row.result].slot)];
  const SamplingParams& s = slot.request->sampling;
  ops::SampleAsk ask{.params = slot.sample_params(),
                     .position = uint64_t{row.position} + 1,
                     .samples = row.samples,
                     .masked = row.allowed != nullptr};
  if (row.allowed != nullptr) ask.allowed = *row.allowed;
  if (!row.guessed.empty() && slot.penalised()) {
    slot.counts_after(row.guessed, sampled.counts);
    ask.params.counts = sampled.counts;
  }
  const size_t prompt = slot.request->prompt.size();
  if (ask.position < prompt + static_cast<uint64_t>(std::max(0, s.min_tokens))) {
    sampled.banned.clear();
    std::ranges::set_union(end_of_generation_, s.stop_token_ids,
                           std::back_inserter(sampled.banned));
    ask.params.banned = sampled.banned;
  }
  if (row.samples) ask.likely = s.logprobs;
  if (row.prompt_index >= 0) {
    ask.known = slot.request->prompt[row.position + 1];
    ask.likely = std::max({ask.likely, s.prompt_logprobs, 1});
  }
  sampled.sampler.begin(ask);
}

// Fills in what the logits of row `place` of those at once decide. Threads: any of the team, each
// row by one.
void CpuRank::take(const HeadRow& row, uint32_t thread, size_t place) {
  ops::RowSampler& sampler = sampled_[place].sampler;
  SampledToken& out = result_.sampled[row.result];
  const SamplingParams& s = slots_[static_cast<size_t>(out.slot)].request->sampling;
  const bool reports = row.samples && s.logprobs >= 0;
  ops::LogSum sum;
  std::array<ops::TokenLogit, ops::kTopLogprobsMax> likely;
  size_t found = 0;
  if (reports || row.prompt_index >= 0) {
    sum = sampler.log_sum();
    found = sampler.likeliest(likely);
  }
  const auto add_top = [&](int32_t count, TokenLogprobs& into) {
    const auto top = std::span(likely).first(std::min(found, static_cast<size_t>(count)));
    into.top.reserve(top.size());
    for (const ops::TokenLogit& one : top)
      into.top.emplace_back(one.id, ops::logprob(one.logit, sum));
  };
  if (row.prompt_index >= 0) {
    TokenLogprobs& into = out.prompt_logprobs[static_cast<size_t>(row.prompt_index)];
    into.id = slots_[static_cast<size_t>(out.slot)].request->prompt[row.position + 1];
    if (static_cast<uint32_t>(into.id) < plan_.config.vocab_size)
      into.logprob = ops::logprob(sampler.known_logit(), sum);
    add_top(std::max(s.prompt_logprobs, 1), into);
  }
  if (!row.samples) return;
  const size_t guesses = row.guessed.size();
  const auto again = [&](size_t first, size_t count, float* logits) {
    decoder_->logits_again(thread, place, first, count, logits);
  };
  const int32_t token = sampler.choose(again);
  (guesses == 0 ? out.token : out.following[guesses - 1].token) = token;
  if (!reports) return;  // Of the model's own distribution, before anything changed the logits.
  TokenLogprobs& into = guesses == 0 ? out.logprobs : out.following[guesses - 1].logprobs;
  into.id = token;
  into.logprob = ops::logprob(sampler.logit_of(token, again), sum);
  add_top(s.logprobs, into);
}

// True where only the likeliest token is wanted: nothing changes the logits and nobody sees them.
bool CpuRank::is_plain(const HeadRow& row) const {
  const Slot& slot = slots_[static_cast<size_t>(result_.sampled[row.result].slot)];
  const SamplingParams& s = slot.request->sampling;
  return row.samples && row.prompt_index < 0 && row.allowed == nullptr && s.logprobs < 0 &&
         (s.temperature <= 0 || s.top_k == 1) && s.logit_bias.empty() && s.min_tokens <= 0 &&
         !slot.penalised();
}

void CpuRank::take_best(std::span<const HeadRow> rows) {
  best_.resize(rows.size());
  decoder_->best_tokens(rows_, best_);
  for (size_t i = 0; i < rows.size(); ++i) {
    SampledToken& out = result_.sampled[rows[i].result];
    const size_t guesses = rows[i].guessed.size();
    (guesses == 0 ? out.token : out.following[guesses - 1].token) = best_[i];
  }
}

void CpuRank::run_head() {
  const auto is_plain_row = [&](const HeadRow& row) { return is_plain(row); };
  for (auto rest = std::span<const HeadRow>(head_rows_); !rest.empty();) {
    auto group =
        rest.first(std::min<size_t>({rest.size(), kHeadRowsMax, plan_.shape.step_tokens_max}));
    const bool plain = std::ranges::all_of(group, is_plain_row);
    if (!plain) group = group.first(std::min(group.size(), sampled_.size()));
    rest = rest.subspan(group.size());
    rows_.clear();
    for (const HeadRow& row : group) rows_.push_back(row.row);
    if (plain) {
      take_best(group);
      continue;
    }
    for (size_t i = 0; i < group.size(); ++i) ask(group[i], sampled_[i]);
    decoder_->head(
        rows_,
        [&](uint32_t thread, size_t i, size_t first, float* logits, size_t count) {
          sampled_[i].sampler.look(thread, first, logits, count);
        },
        [&](uint32_t thread, size_t i) { take(group[i], thread, i); });
  }
}

// The draft model follows every step, so that it knows what it must when it guesses.
void CpuRank::run_draft() {
  if (draft_ && !draft_entries_.empty()) draft_->guess(draft_entries_);
}

void CpuRank::keep_draft() {
  if (!draft_) return;
  std::erase_if(draft_entries_, [&](const DraftEntry& entry) {
    const auto guessed = std::ranges::find_if(guessed_, [&](const Guessed& one) {
      return one.tokens.data() + one.tokens.size() == entry.tokens.data() + entry.tokens.size();
    });
    return entry.guesses == 0 || guessed == guessed_.end() ||
           result_.sampled[guessed->result].following.size() < entry.guesses;
  });
  draft_->keep_last(draft_entries_);
}

// A token that followed a wrong guess was computed from what nobody said.
void CpuRank::keep_right_guesses() {
  for (const Guessed& guessed : guessed_) {
    SampledToken& out = result_.sampled[guessed.result];
    size_t right = 0;
    for (int32_t said = out.token; right < guessed.tokens.size(); ++right) {
      if (guessed.tokens[right] != said) break;
      said = out.following[right].token;
    }
    out.following.resize(right);
  }
}

Result<StepResult> CpuRank::run(const StepPlan& step) {
  const int64_t busy_before = device_.busy_ns();
  result_ = StepResult{.id = step.id};
  entries_.clear();
  pending_tokens_.clear();
  head_rows_.clear();
  guessed_.clear();
  pooled_.clear();
  guess_tokens_.clear();
  draft_entries_.clear();
  ALTLAS_TRY_VOID(apply_changes(step));
  result_.sampled.reserve(step.entries.size());  // The step's one allocation: what it hands out.
  uint32_t rows = 0;
  for (const StepEntry& entry : step.entries) ALTLAS_TRY_VOID(add_entry(entry, rows));
  run_draft();
  if (!entries_.empty()) {
    if (encoder_)
      encoder_->forward(entries_);
    else
      decoder_->forward(entries_);
  }
  pool_prompts();
  run_head();
  keep_right_guesses();
  keep_draft();
  for (const SampledToken& sampled : result_.sampled) {
    Slot& slot = slots_[static_cast<size_t>(sampled.slot)];
    if (sampled.token >= 0) slot.sampled(sampled.token);
    for (const FollowingToken& following : sampled.following) slot.sampled(following.token);
  }
  for (const int32_t ended : step.ends) {
    ALTLAS_TRY(Slot * slot, slot_at(ended));
    slot->end();
  }
  result_.busy_us = (device_.busy_ns() - busy_before) / 1000;
  return std::move(result_);
}

}  // namespace

Result<std::unique_ptr<Rank>> load_rank(const LoadOptions& options, device::CpuDevice& device) {
  ALTLAS_TRY(const ModelFile file, ModelFile::open(options.model_path));
  const device::MemoryUse use = device.memory_use();
  ALTLAS_TRY(RankPlan plan, plan_rank(file, options, use.total, device.team().size()));
  auto rank = std::make_unique<CpuRank>(std::move(plan), options, device);
  ALTLAS_TRY_VOID(rank->allocate(file, options));
  return std::unique_ptr<Rank>(std::move(rank));
}

}  // namespace altlas::model
