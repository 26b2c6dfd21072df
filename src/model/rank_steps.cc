#include "model/rank_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/integers.h"
#include "model/shape.h"
#include "ops/elementwise/elementwise.h"
#include "ops/sample/sample.h"

namespace altlas::model {
namespace {

Error broken(std::string message) { return invalid("step plan: " + std::move(message)); }

}  // namespace

RankSteps::RankSteps(ReplicaShape shape, Pooling pooling, std::vector<int32_t> end_of_generation,
                     std::unique_ptr<Forward> forward, const device::Device& device)
    : shape_(std::move(shape)),
      pooling_(pooling),
      end_of_generation_(std::move(end_of_generation)),
      forward_(std::move(forward)),
      device_(device),
      slots_(shape_.sequences_max),
      hidden_(shape_.embedding_size),
      lists_(forward_->head_rows_max()),
      answers_(forward_->head_rows_max()) {
  std::ranges::sort(end_of_generation_);
  const uint32_t blocks_max = ceil_div(shape_.model_len_max, shape_.block_tokens);
  for (SequenceSlot& slot : slots_) {
    slot.tables.resize(shape_.groups.size());
    for (size_t g = 0; g < shape_.groups.size(); ++g)
      slot.tables[g].reserve(shape_.groups[g].kind == kv::GroupKind::kState ? 1 : blocks_max);
  }
  entries_.reserve(shape_.sequences_max);
  pending_tokens_.reserve(shape_.sequences_max);
  wanted_.reserve(shape_.step_tokens_max);
  rows_.reserve(forward_->best_rows_max());
  best_.reserve(forward_->best_rows_max());
  asked_.reserve(forward_->head_rows_max());
  if (shape_.draft_model) guess_tokens_.reserve(shape_.step_tokens_max);
}

Result<uint64_t> RankSteps::load_adapter(uint32_t id, const std::string& path) {
  if (!shape_.generates)
    return invalid("this model only gives embeddings: LoRA adapters are not supported for it");
  return forward_->load_adapter(id, path);
}

Result<SequenceSlot*> RankSteps::slot_at(int32_t slot) {
  if (slot < 0 || static_cast<size_t>(slot) >= slots_.size())
    return broken(fmt::format("there is no slot {}", slot));
  return &slots_[static_cast<size_t>(slot)];
}

const SequenceSlot& RankSteps::slot_of(const WantedRow& row) const {
  return slots_[static_cast<size_t>(result_.sampled[row.result].slot)];
}

Result<void> RankSteps::check_block(uint32_t group, BlockId block) const {
  if (group >= shape_.groups.size()) return broken(fmt::format("there is no KV group {}", group));
  if (block.value >= shape_.groups[group].blocks)
    return broken(fmt::format("there is no KV block {}", block.value));
  return {};
}

Result<void> RankSteps::set_table(SequenceSlot& slot, const kv::TableChange& change) {
  for (const BlockId block : change.blocks) ALTLAS_TRY_VOID(check_block(change.group, block));
  if (change.blocks.empty()) return {};
  auto& table = slot.tables[change.group];
  const size_t end = size_t{change.first_index} + change.blocks.size();
  if (change.first_index > table.size() || end > table.capacity())
    return broken(
        fmt::format("blocks {} to {} of a table of {}", change.first_index, end, table.size()));
  table.resize(std::max(table.size(), end));
  for (size_t i = 0; i < change.blocks.size(); ++i)
    table[change.first_index + i] = change.blocks[i].value;
  return {};
}

Result<void> RankSteps::copy_block(const kv::BlockCopy& copy) {
  ALTLAS_TRY_VOID(check_block(copy.group, copy.from));
  ALTLAS_TRY_VOID(check_block(copy.group, copy.to));
  forward_->copy_block(copy);
  return {};
}

Result<void> RankSteps::swap_block(const kv::BlockSwap& swap, bool out) {
  ALTLAS_TRY_VOID(check_block(swap.group, swap.block));
  if (swap.place >= shape_.swap_places)
    return broken(fmt::format("there is no place {} in host memory", swap.place));
  forward_->swap_block(swap, out);
  return {};
}

Result<void> RankSteps::start(const SlotStart& start) {
  ALTLAS_TRY(SequenceSlot * slot, slot_at(start.slot));
  if (start.request == nullptr)
    return broken(fmt::format("slot {} starts without a request", start.slot));
  auto adapter = forward_->adapter(start.request->adapter);
  if (start.request->adapter != 0 && adapter == nullptr)
    return broken(fmt::format("there is no adapter {}", start.request->adapter));
  slot->start(start.request, std::move(adapter), std::min(shape_.model_len_max, shape_.vocab_size));
  for (AskLists& lists : lists_) lists.make_room(*slot, end_of_generation_.size());
  return {};
}

Result<void> RankSteps::apply_changes(const StepPlan& step) {
  for (const SlotStart& one : step.starts) ALTLAS_TRY_VOID(start(one));
  for (const SlotTables& tables : step.tables) {
    ALTLAS_TRY(SequenceSlot * slot, slot_at(tables.slot));
    for (const kv::TableChange& change : tables.changes) ALTLAS_TRY_VOID(set_table(*slot, change));
  }
  for (const kv::BlockSwap& swap : step.swap_out) ALTLAS_TRY_VOID(swap_block(swap, /*out=*/true));
  for (const kv::BlockCopy& copy : step.copies) ALTLAS_TRY_VOID(copy_block(copy));
  for (const kv::BlockSwap& swap : step.swap_in) ALTLAS_TRY_VOID(swap_block(swap, /*out=*/false));
  return {};
}

Result<void> RankSteps::check_guesses(const StepEntry& entry) const {
  if (entry.guesses == 0) return {};
  if (!entry.samples || entry.prompt_logprobs || entry.guesses >= entry.tokens.size())
    return broken(fmt::format("slot {} has {} guesses among {} tokens", entry.slot, entry.guesses,
                              entry.tokens.size()));
  const auto open = static_cast<size_t>(std::ranges::count(entry.tokens, kTokenGuessed));
  if (open > 0 && (!shape_.draft_model || open != entry.guesses ||
                   entry.tokens[entry.tokens.size() - open] != kTokenGuessed))
    return broken(
        fmt::format("slot {} has {} tokens for a draft model to guess", entry.slot, open));
  return {};
}

Result<void> RankSteps::check_entry(const StepEntry& entry, const SequenceSlot& slot,
                                    uint32_t rows) const {
  if (slot.request == nullptr) return broken(fmt::format("slot {} is free", entry.slot));
  if (entry.tokens.empty()) return broken(fmt::format("slot {} computes no token", entry.slot));
  if (entries_.size() == slots_.size() || rows + entry.tokens.size() > shape_.step_tokens_max)
    return broken(
        fmt::format("more than {} tokens or {} entries", shape_.step_tokens_max, slots_.size()));
  const uint64_t end = uint64_t{entry.position} + entry.tokens.size();
  if (end > shape_.model_len_max)
    return broken(fmt::format("slot {} goes past {} tokens", entry.slot, shape_.model_len_max));
  for (size_t g = 0; g < slot.tables.size(); ++g) {
    const uint64_t held = shape_.groups[g].kind == kv::GroupKind::kState
                              ? (slot.tables[g].empty() ? 0 : end)
                              : uint64_t{slot.tables[g].size()} * shape_.block_tokens;
    if (held < end)
      return broken(fmt::format("slot {} has KV for {} of {} tokens", entry.slot, held, end));
  }
  return check_guesses(entry);
}

Result<void> RankSteps::add_entry(const StepEntry& entry, uint32_t& rows) {
  ALTLAS_TRY(SequenceSlot * slot, slot_at(entry.slot));
  ALTLAS_TRY_VOID(check_entry(entry, *slot, rows));
  std::span<const int32_t> tokens = entry.tokens;
  if (tokens[0] == kTokenPending && tokens.size() == 1) {
    if (slot->last_token < 0)
      return broken(fmt::format("slot {} has sampled no token yet", entry.slot));
    // It never reallocates, since each slot adds at most one.
    pending_tokens_.push_back(slot->last_token);
    tokens = {&pending_tokens_.back(), 1};
  }
  // The draft model writes its guesses there. The list never reallocates: it holds at most
  // step_tokens_max.
  if (shape_.draft_model) {
    guess_tokens_.insert(guess_tokens_.end(), tokens.begin(), tokens.end());
    const auto own = std::span<int32_t>(guess_tokens_).last(tokens.size());
    draft_entries_.push_back({.tokens = own,
                              .guesses = entry.tokens.back() == kTokenGuessed ? entry.guesses : 0,
                              .position = entry.position,
                              .tables = slot->tables});
    tokens = own;
  }
  const size_t open = shape_.draft_model ? draft_entries_.back().guesses : 0;
  for (const int32_t id : tokens.first(tokens.size() - open))
    if (id < 0 || static_cast<uint32_t>(id) >= shape_.vocab_size)
      return broken(fmt::format("there is no token {}: the model has {}", id, shape_.vocab_size));
  entries_.push_back({.tokens = tokens,
                      .position = entry.position,
                      .tables = slot->tables,
                      .adapter = slot->adapter.get()});
  if (slot->request->embeds) {
    ALTLAS_TRY_VOID(want_embedding(entry, *slot, rows));
  } else if (!shape_.generates) {
    return broken(fmt::format("slot {} wants tokens of a model that only embeds", entry.slot));
  } else {
    want_logits(entry, tokens, rows);
  }
  rows += static_cast<uint32_t>(tokens.size());
  return {};
}

Result<void> RankSteps::want_embedding(const StepEntry& entry, const SequenceSlot& slot,
                                       uint32_t first_row) {
  const size_t prompt = slot.request->prompt.size(), end = entry.position + entry.tokens.size();
  const bool follows = !forward_->gives_results() || entry.position == slot.pool.count();
  if (!follows || entry.samples != (end == prompt) || end > prompt || entry.prompt_logprobs ||
      entry.guesses > 0 || (!shape_.generates && !entry.samples))
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

void RankSteps::pool_prompts() {
  for (const PooledRows& rows : pooled_) {
    SequenceSlot& slot = slots_[static_cast<size_t>(rows.slot)];
    for (uint32_t row = rows.first_row; row < rows.first_row + rows.count; ++row) {
      forward_->final_hidden(row, hidden_);
      slot.pool.add(pooling_, hidden_);
    }
    if (rows.result < 0) continue;
    SampledToken& out = result_.sampled[static_cast<size_t>(rows.result)];
    out.embedding = slot.pool.take();
    out.finite = ops::all_finite_cpu(out.embedding.data(), out.embedding.size());
  }
}

void RankSteps::want_logits(const StepEntry& entry, std::span<const int32_t> tokens,
                            uint32_t first_row) {
  if (!entry.samples && !entry.prompt_logprobs) return;
  const auto result = static_cast<uint32_t>(result_.sampled.size());
  SampledToken& out = result_.sampled.emplace_back();
  out.slot = entry.slot;
  out.token = -1;
  const auto count = static_cast<uint32_t>(entry.tokens.size());
  if (entry.prompt_logprobs) {
    const size_t prompt = slots_[static_cast<size_t>(entry.slot)].request->prompt.size();
    // Tokens that follow the chunk's first.
    const size_t known = prompt > entry.position + 1 ? prompt - entry.position - 1 : 0;
    out.prompt_logprobs.resize(std::min<size_t>(count, known));
    for (uint32_t i = 0; i < out.prompt_logprobs.size(); ++i)
      wanted_.push_back({first_row + i,
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
    wanted_.push_back({first_row + i, result, entry.position + i, -1, true,
                       tokens.subspan(known, i + 1 - known), entry.allowed.get()});
  out.following.resize(entry.guesses);
  if (entry.guesses > 0) guessed_.push_back({result, tokens.subspan(known)});
}

// Returns what a row asks of its logits.
HeadRow RankSteps::ask(const WantedRow& row, AskLists& lists) {
  const SequenceSlot& slot = slot_of(row);
  const SamplingParams& s = slot.request->sampling;
  ops::SampleAsk ask{.params = slot.sample_params(),
                     .position = uint64_t{row.position} + 1,
                     .samples = row.samples,
                     .masked = row.allowed != nullptr};
  if (row.allowed != nullptr) ask.allowed = *row.allowed;
  if (!row.guessed.empty() && slot.penalised()) {
    slot.counts_after(row.guessed, lists.counts);
    ask.params.counts = lists.counts;
  }
  const size_t prompt = slot.request->prompt.size();
  if (ask.position < prompt + static_cast<uint64_t>(std::max(0, s.min_tokens))) {
    lists.banned.clear();
    std::ranges::set_union(end_of_generation_, s.stop_token_ids, std::back_inserter(lists.banned));
    ask.params.banned = lists.banned;
  }
  if (row.samples) ask.likely = s.logprobs;
  if (row.prompt_index >= 0) {
    ask.known = slot.request->prompt[row.position + 1];
    ask.likely = std::max({ask.likely, s.prompt_logprobs, 1});
  }
  return {.row = row.row, .ask = ask, .reports = row.samples && s.logprobs >= 0};
}

// What a row that samples gave: the entry's token, or the one behind a guess.
void RankSteps::take_token(const WantedRow& row, const BestToken& best) {
  SampledToken& out = result_.sampled[row.result];
  const size_t guesses = row.guessed.size();
  if (guesses == 0) {
    out.token = best.token;
    out.finite = out.finite && best.finite;
  } else {
    out.following[guesses - 1].token = best.token;
    out.following[guesses - 1].finite = best.finite;
  }
}

void RankSteps::take(const WantedRow& row, const HeadAnswer& answer) {
  SampledToken& out = result_.sampled[row.result];
  const SequenceRequest& request = *slot_of(row).request;
  const SamplingParams& s = request.sampling;
  const auto add_top = [&](int32_t count, TokenLogprobs& into) {
    const auto top = std::span(answer.likely)
                         .first(std::min<size_t>(answer.likely_count, static_cast<size_t>(count)));
    into.top.reserve(top.size());
    for (const ops::TokenLogit& one : top) into.top.emplace_back(one.id, one.logit);
  };
  if (row.prompt_index >= 0) {
    TokenLogprobs& into = out.prompt_logprobs[static_cast<size_t>(row.prompt_index)];
    into.id = request.prompt[row.position + 1];
    if (static_cast<uint32_t>(into.id) < shape_.vocab_size) into.logprob = answer.known_logprob;
    add_top(std::max(s.prompt_logprobs, 1), into);
    out.finite = out.finite && answer.finite;
  }
  if (!row.samples) return;
  const size_t guesses = row.guessed.size();
  take_token(row, {answer.token, answer.finite});
  if (s.logprobs < 0) return;
  TokenLogprobs& into = guesses == 0 ? out.logprobs : out.following[guesses - 1].logprobs;
  into.id = answer.token;
  into.logprob = answer.logprob;
  add_top(s.logprobs, into);
}

// Whether only the likeliest token is wanted: then nothing changes the logits and nobody sees them.
bool RankSteps::is_plain(const WantedRow& row) const {
  const SequenceSlot& slot = slot_of(row);
  const SamplingParams& s = slot.request->sampling;
  return row.samples && row.prompt_index < 0 && row.allowed == nullptr && s.logprobs < 0 &&
         (s.temperature <= 0 || s.top_k == 1) && s.logit_bias.empty() && s.min_tokens <= 0 &&
         !slot.penalised();
}

void RankSteps::take_best(std::span<const WantedRow> rows) {
  rows_.clear();
  for (const WantedRow& row : rows) rows_.push_back(row.row);
  best_.resize(rows.size());
  forward_->best_tokens(rows_, best_);
  for (size_t i = 0; i < rows.size(); ++i) take_token(rows[i], best_[i]);
}

void RankSteps::run_head() {
  const auto is_plain_row = [&](const WantedRow& row) { return is_plain(row); };
  for (auto rest = std::span<const WantedRow>(wanted_); !rest.empty();) {
    auto group = rest.first(
        std::min<size_t>({rest.size(), forward_->best_rows_max(), shape_.step_tokens_max}));
    const bool plain = std::ranges::all_of(group, is_plain_row);
    if (!plain) group = group.first(std::min<size_t>(group.size(), forward_->head_rows_max()));
    rest = rest.subspan(group.size());
    if (plain) {
      take_best(group);
      continue;
    }
    asked_.clear();
    for (size_t i = 0; i < group.size(); ++i) asked_.push_back(ask(group[i], lists_[i]));
    forward_->head(asked_, std::span(answers_).first(group.size()));
    for (size_t i = 0; i < group.size(); ++i) take(group[i], answers_[i]);
  }
}

// The draft model follows every step, so that its KV is complete when it guesses.
void RankSteps::run_draft() {
  if (!draft_entries_.empty()) forward_->guess(draft_entries_);
}

void RankSteps::keep_draft() {
  if (!shape_.draft_model) return;
  std::erase_if(draft_entries_, [&](const DraftEntry& entry) {
    // Who does not see the results computes KV of the last guess always: a wrong one's is replaced.
    if (!forward_->gives_results()) return entry.guesses == 0;
    const auto guessed = std::ranges::find_if(guessed_, [&](const Guessed& one) {
      return one.tokens.data() + one.tokens.size() == entry.tokens.data() + entry.tokens.size();
    });
    return entry.guesses == 0 || guessed == guessed_.end() ||
           result_.sampled[guessed->result].following.size() < entry.guesses;
  });
  forward_->keep_last(draft_entries_);
}

// Tokens that follow a wrong guess are dropped: they were computed from a text that nobody said.
void RankSteps::keep_right_guesses() {
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

void RankSteps::forget_step(const StepPlan& step) {
  result_ = StepResult{.id = step.id};
  entries_.clear();
  pending_tokens_.clear();
  wanted_.clear();
  guessed_.clear();
  pooled_.clear();
  guess_tokens_.clear();
  draft_entries_.clear();
}

Result<void> RankSteps::take_plan(const StepPlan& step) {
  ALTLAS_TRY_VOID(apply_changes(step));
  // What a step returns is all that it allocates: this list, and in it what few requests ask for
  // (log-probabilities, what follows guesses, embeddings).
  result_.sampled.reserve(step.entries.size());
  uint32_t rows = 0;
  for (const StepEntry& entry : step.entries) ALTLAS_TRY_VOID(add_entry(entry, rows));
  return {};
}

Result<void> RankSteps::check_links(const StepPlan& step) const {
  const Result<void> linked = forward_->failure();
  if (linked.ok()) return {};
  return Error(linked.error().code(),
               fmt::format("step {}, {}", step.id.value, linked.error().message()));
}

Result<StepResult> RankSteps::run(const StepPlan& step) {
  const int64_t busy_before = device_.busy_ns();
  forget_step(step);
  const Result<void> taken = take_plan(step);
  const bool all_ready = forward_->all_ready(taken.ok());
  ALTLAS_TRY_VOID(check_links(step));
  ALTLAS_TRY_VOID(taken);
  if (!all_ready) return broken("another rank refused it, or one before it");
  run_draft();
  if (!entries_.empty()) forward_->forward(entries_);
  if (forward_->gives_results()) {
    pool_prompts();
    run_head();
    keep_right_guesses();
  } else {
    result_.sampled.clear();
  }
  keep_draft();
  ALTLAS_TRY_VOID(check_links(step));
  for (const SampledToken& sampled : result_.sampled) {
    SequenceSlot& slot = slots_[static_cast<size_t>(sampled.slot)];
    if (sampled.token >= 0) slot.sampled(sampled.token);
    for (const FollowingToken& following : sampled.following) slot.sampled(following.token);
  }
  for (const int32_t ended : step.ends) {
    ALTLAS_TRY(SequenceSlot * slot, slot_at(ended));
    slot->end();
  }
  result_.busy_us = (device_.busy_ns() - busy_before) / 1000;
  return std::move(result_);
}

Result<KvStamp> RankSteps::stamp(uint32_t adapter, const KvRange& range) const {
  if (!shape_.generates)
    return invalid("KV blocks of a model that only gives embeddings serve one step only");
  const auto held = forward_->adapter(adapter);
  if (adapter != 0 && held == nullptr)
    return not_found(fmt::format("there is no adapter {}", adapter));
  return KvStamp{.model = forward_->model_identity(),
                 .adapter = held == nullptr ? 0 : held->identity,
                 .type = shape_.kv_type,
                 .block_tokens = shape_.block_tokens,
                 .range = range};
}

Result<void> RankSteps::check_blocks(uint32_t group, std::span<const BlockId> blocks) const {
  if (group >= shape_.groups.size())
    return invalid(fmt::format("KV group {}; there are {}", group, shape_.groups.size()));
  for (const BlockId block : blocks)
    if (block.value >= shape_.groups[group].blocks)
      return invalid(fmt::format("KV block {}; group {} has {}", block.value, group,
                                 shape_.groups[group].blocks));
  return {};
}

Result<KvBytes> RankSteps::export_kv(uint32_t adapter, uint32_t group, const KvRange& range,
                                     std::span<const BlockId> blocks) const {
  ALTLAS_TRY_VOID(check_blocks(group, blocks));
  KvBytes out{.group = group, .blocks = static_cast<uint32_t>(blocks.size())};
  ALTLAS_TRY(out.stamp, stamp(adapter, range));
  ALTLAS_TRY(const KvStamp own, stamp(adapter, forward_->kv_range()));
  ALTLAS_TRY_VOID(check_stamp(out.stamp, own));
  out.bytes.resize(blocks.size() * forward_->range_bytes(group, range));
  forward_->export_blocks(group, range, blocks, out.bytes);
  return out;
}

Result<void> RankSteps::import_kv(uint32_t adapter, const KvBytes& kv,
                                  std::span<const BlockId> blocks) {
  ALTLAS_TRY_VOID(check_blocks(kv.group, blocks));
  ALTLAS_TRY(const KvStamp own, stamp(adapter, forward_->kv_range()));
  ALTLAS_TRY_VOID(check_stamp(kv.stamp, own));
  const uint64_t bytes = blocks.size() * forward_->range_bytes(kv.group, kv.stamp.range);
  if (kv.blocks != blocks.size() || kv.bytes.size() != bytes)
    return invalid(fmt::format("KV blocks: {} of {} bytes are given for {} of {} bytes", kv.blocks,
                               kv.bytes.size(), blocks.size(), bytes));
  forward_->import_blocks(kv.group, kv.stamp.range, blocks, kv.bytes);
  return {};
}

Result<std::unique_ptr<Rank>> load_rank(const LoadOptions& options, device::Device& device) {
  ALTLAS_TRY(const ModelFile file, ModelFile::open(options.model_path));
  ALTLAS_TRY(RankPlan plan,
             plan_rank(file, options, device.memory_use().total, device.team().size()));
  ReplicaShape shape = plan.shape;
  const Pooling pooling = plan.config.pooling;
  ALTLAS_TRY(auto forward, load_forward(file, plan, options, device));
  auto rank = std::make_unique<RankSteps>(std::move(shape), pooling, options.end_of_generation,
                                          std::move(forward), device);
  if (options.progress) options.progress("kv", 1);
  return std::unique_ptr<Rank>(std::move(rank));
}

}  // namespace altlas::model
