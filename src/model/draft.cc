#include "model/draft.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ops/sample/sample.h"

namespace altlas::model {

Result<std::unique_ptr<DraftPlan>> plan_draft(const std::string& path, const GuessedModel& model,
                                              uint32_t threads) {
  ALTLAS_TRY(ModelFile file, ModelFile::open(path));
  auto plan = std::make_unique<DraftPlan>(std::move(file));
  const Hyperparameters& config = plan->file.config();
  const auto wrong = [&](const std::string& what) {
    return invalid(fmt::format("draft model '{}': {}", path.substr(0, 300), what), "draft_model");
  };
  if (config.vocab_size != model.vocab_size)
    return wrong(fmt::format("its vocabulary has {} tokens, the model's {}; they must be the same",
                             config.vocab_size, model.vocab_size));
  plan->layout = model.layout;
  plan->layout.kv_heads = config.kv_heads;
  plan->layout.head_dim = config.head_dim;
  ALTLAS_TRY(plan->shard, shard_plan(config, {}));
  plan->groups = kv_groups(config, plan->shard.layers);
  if (plan->groups.size() > model.groups.size())
    return wrong(
        fmt::format("its layers have {} kinds of windows, the model's {}; it may not have "
                    "more",
                    plan->groups.size(), model.groups.size()));
  for (size_t g = 0; g < plan->groups.size(); ++g) {
    const uint32_t own = plan->groups[g].window, kept = model.groups[g].window;
    if (kept != 0 && (own == 0 || own > kept))
      return wrong(
          fmt::format("its layers see {} tokens, but the model keeps {}; it may not see "
                      "more",
                      own == 0 ? "all" : std::to_string(own), kept));
  }
  Arena arena;
  ALTLAS_TRY(const DecoderWeights weights,
             lay_out_weights({plan->file.tensors(), config, plan->shard}, arena, nullptr, {}));
  plan->weight_bytes = whole_pages(arena.used());
  const Workspace<uint64_t> bytes = Decoder::workspace_bytes(
      {config, plan->shard, weights, plan->layout, model.step_tokens_max}, {threads, threads});
  plan->activation_bytes = {whole_pages(bytes.own), whole_pages(bytes.shared)};
  return plan;
}

Result<std::unique_ptr<DraftModel>> DraftModel::load(std::unique_ptr<DraftPlan> plan,
                                                     const LoadOptions& options,
                                                     uint32_t step_tokens_max,
                                                     device::Device& device) {
  std::unique_ptr<DraftModel> out(new DraftModel(std::move(plan)));
  DraftPlan& own = *out->plan_;
  LoadOptions weights = options;
  weights.model_path = options.draft_model_path;
  weights.shard = {};
  ALTLAS_TRY(out->loaded_, load_weights(own.file, own.shard, weights,
                                        {own.weight_bytes, own.weight_bytes}, device));
  const Workspace<uint64_t>& bytes = own.activation_bytes;
  ALTLAS_TRY(out->workspace_, device.allocate("draft activations", bytes.own + bytes.shared));
  for (KvGroup& group : own.groups) {
    ALTLAS_TRY(device::Buffer buffer,
               device.allocate("draft kv", group.blocks * group.block_bytes(own.layout)));
    group.data = buffer.data();
    out->kv_.push_back(std::move(buffer));
  }
  const uint32_t threads[] = {device.team().size()};
  out->group_ = std::make_unique<RankGroup>(threads);
  out->group_->publish(0, {&out->loaded_.weights, own.shard.vocab});
  std::byte* memory = out->workspace_.data();
  out->decoder_ = std::make_unique<Decoder>(
      DecoderPart{own.file.config(), own.shard, out->loaded_.weights, own.layout, step_tokens_max},
      own.groups, Workspace<Arena>{{memory, bytes.own}, {memory + bytes.own, bytes.shared}},
      RankTeam{&device.team(), out->group_.get(), 0});
  return out;
}

BatchEntry DraftModel::one_token(const DraftEntry& entry, uint32_t index) const {
  return {.tokens = entry.tokens.subspan(index, 1),
          .position = entry.position + index,
          .tables = entry.tables.first(plan_->groups.size())};
}

// Makes the likeliest tokens after the step's rows guess number `guess` of their entries.
void DraftModel::take_likeliest(std::span<DraftEntry> entries, uint32_t guess) {
  targets_.clear();
  for (DraftEntry& entry : entries)
    if (entry.guesses > guess)
      targets_.push_back(&entry.tokens[entry.tokens.size() - entry.guesses + guess]);
  for (size_t first = 0; first < rows_.size(); first += kHeadRowsMax) {
    const size_t count = std::min<size_t>(kHeadRowsMax, rows_.size() - first);
    const auto likeliest = std::span(likeliest_).first(count);
    decoder_->head().best_tokens(std::span<const uint32_t>(rows_).subspan(first, count), likeliest);
    for (size_t i = 0; i < count; ++i) *targets_[first + i] = likeliest[i];
  }
}

void DraftModel::guess(std::span<DraftEntry> entries) {
  batch_.clear();
  rows_.clear();
  uint32_t row = 0, most = 0;
  for (const DraftEntry& entry : entries) {
    const size_t known = entry.tokens.size() - entry.guesses;
    batch_.push_back({.tokens = entry.tokens.first(known),
                      .position = entry.position,
                      .tables = entry.tables.first(plan_->groups.size())});
    row += static_cast<uint32_t>(known);
    if (entry.guesses > 0) rows_.push_back(row - 1);
    most = std::max(most, entry.guesses);
  }
  decoder_->forward(batch_);
  take_likeliest(entries, 0);
  for (uint32_t guess = 1; guess < most; ++guess) {
    batch_.clear();
    rows_.clear();
    for (const DraftEntry& entry : entries) {
      if (entry.guesses <= guess) continue;
      rows_.push_back(static_cast<uint32_t>(rows_.size()));
      const auto known = static_cast<uint32_t>(entry.tokens.size()) - entry.guesses;
      batch_.push_back(one_token(entry, known + guess - 1));
    }
    decoder_->forward(batch_);
    take_likeliest(entries, guess);
  }
}

void DraftModel::keep_last(std::span<const DraftEntry> entries) {
  batch_.clear();
  for (const DraftEntry& entry : entries)
    batch_.push_back(one_token(entry, static_cast<uint32_t>(entry.tokens.size()) - 1));
  if (!batch_.empty()) decoder_->forward(batch_);
}

}  // namespace altlas::model
