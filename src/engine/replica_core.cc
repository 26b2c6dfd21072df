#include "engine/replica_core.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

// Adapters are in replica_adapters.cc, sequences that wait for their grammar in
// replica_grammars.cc.
namespace altlas::engine {

namespace {

scheduler::BatchOptions batch_options(const ReplicaLimits& limits, const CoreOptions& options) {
  scheduler::BatchOptions batch;
  batch.sequences_max = limits.sequences_max;
  batch.step_tokens_max = limits.step_tokens_max;
  batch.model_len_max = limits.model_len_max;
  batch.waiting_max = options.sequences_waiting_max;
  batch.cache_salt = options.cache_salt;
  batch.micro_batches = options.micro_batches;
  batch.guesses_max = options.speculative_tokens;
  batch.draft_model = limits.draft_model;
  batch.swap_block_ns = limits.swap_block_ns;
  batch.prefill_token_ns = limits.prefill_token_ns;
  batch.whole_prompts = !limits.generates;
  batch.kv.swap_places = limits.swap_places;
  batch.kv.block_tokens = limits.block_tokens;
  batch.kv.prefix_caching = options.prefix_caching;
  batch.kv.groups = limits.groups;
  // States are swapped at the speed of blocks.
  for (const kv::GroupSpec& group : limits.groups)
    if (group.kind == kv::GroupKind::kState && limits.block_bytes() > 0)
      batch.swap_state_ns += limits.swap_block_ns * group.block_bytes / limits.block_bytes();
  return batch;
}

}  // namespace

ReplicaCore::ReplicaCore(const ReplicaLimits& limits, const CoreOptions& options,
                         const text::Tokenizer* tokenizer)
    : limits_(limits),
      options_(options),
      tokenizer_(tokenizer),
      batch_(batch_options(limits_, options_)),
      busy_us_(limits.ranks.size()) {
  for (const std::string& name : options_.adapters)
    adapters_.push_back({HeldAdapter::State::kReady, next_adapter_++, name, 0, false, 0});
}

void ReplicaCore::handle(Command command) {
  if (auto* submitted = std::get_if<SubmitSequence>(&command)) {
    submit(std::move(*submitted));
  } else if (const auto* cancelled = std::get_if<CancelSequence>(&command)) {
    cancel(cancelled->sequence);
  } else if (auto* load = std::get_if<LoadAdapter>(&command)) {
    load_adapter(std::move(*load));
  } else if (const auto* unload = std::get_if<UnloadAdapter>(&command)) {
    unload_adapter(unload->name);
  } else {
    ALTLAS_CHECK(std::holds_alternative<DrainReplica>(command),
                 "a core is loaded once, by its constructor");
    draining_ = true;
  }
  say_drained();
}

void ReplicaCore::submit(SubmitSequence command) {
  const SequenceId id = command.sequence;
  if (draining_) {
    reports_.push_back(
        SequenceFailed{id, ErrorCode::kUnavailable, "the replica is draining; ask another one"});
    return;
  }
  if (const Result<void> started = start(command); !started.ok()) {
    reports_.push_back(SequenceFailed{id, started.error().code(), started.error().message()});
  }
}

Result<void> ReplicaCore::check_tokens(std::span<const int32_t> tokens) const {
  for (const int32_t token : tokens) {
    if (token < 0 ||
        (limits_.vocab_size > 0 && static_cast<uint32_t>(token) >= limits_.vocab_size)) {
      return invalid(
          fmt::format("token id {}; the vocabulary has 0 to {}", token, limits_.vocab_size - 1),
          "prompt");
    }
  }
  return {};
}

Result<void> ReplicaCore::check_tokens(const SubmitSequence& command) const {
  for (const PromptSegment& segment : command.prompt.segments())
    ALTLAS_TRY_VOID(check_tokens(segment.tokens));
  return check_tokens(command.generated);
}

Result<void> ReplicaCore::check_payloads(const SubmitSequence& command) const {
  if (command.prompt.payloads().empty()) return {};
  if (!limits_.reads_payloads) return invalid("this model reads text, and no payloads", "prompt");
  for (const Payload& payload : command.prompt.payloads())
    if (payload.tokens == 0)
      return invalid("a payload that takes no place in the prompt", "prompt");
  if (command.sampling.prompt_logprobs >= 0)
    return invalid("a payload's places have no log-probabilities", "prompt_logprobs");
  return {};
}

Result<void> ReplicaCore::check_kind(const SubmitSequence& command) const {
  if (command.embeds && limits_.embedding_size == 0)
    return invalid("this model gives no embeddings; ask one that does", "model");
  if (!command.embeds && !limits_.generates)
    return invalid("this model only gives embeddings; ask one that generates text", "model");
  if (command.embeds && !command.generated.empty())
    return invalid("an embedding has no generated tokens", "generated");
  return {};
}

Result<void> ReplicaCore::start(SubmitSequence& command) {
  if (live_.contains(command.sequence) || held_orders_.contains(command.sequence))
    return Error(ErrorCode::kConflict, "the sequence is already here");
  ALTLAS_TRY_VOID(check_kind(command));
  if (command.embeds) command.tokens_max = 1;
  if (command.tokens_max < 1) return invalid("max_tokens is at least 1", "max_tokens");
  ALTLAS_TRY_VOID(check_tokens(command));
  ALTLAS_TRY_VOID(check_payloads(command));
  ALTLAS_TRY(const uint32_t adapter, adapter_id(command.adapter));
  TokenGrammarPtr grammar;
  if (command.sampling.grammar.kind != GrammarKind::kNone && !command.embeds) {
    grammar = grammars_.find(command.sampling.grammar);
    if (grammar == nullptr) return wait_for_grammar(std::move(command), adapter);
  }
  return begin(command, adapter, std::move(grammar), std::nullopt);
}

// Replays what an earlier run generated, then queues the rest.
Result<void> ReplicaCore::begin(SubmitSequence& command, uint32_t adapter, TokenGrammarPtr grammar,
                                std::optional<uint64_t> arrival) {
  ALTLAS_TRY(SequenceOutput output,
             SequenceOutput::create(tokenizer_, command.sampling, command.tokens_max));
  Live live{std::move(output), command.sampling.logprobs >= 0, {}};
  live.adapter = adapter;
  if (grammar != nullptr) hold_to_grammar(command, std::move(grammar), live);
  for (const int32_t token : command.generated) ALTLAS_TRY_VOID(take_token(live, token));
  if (live.output.finished()) {
    // The earlier run had generated everything, but its end was not reported.
    const uint64_t said = live.output.bytes_before_end();
    if (said < live.output.text().size()) {
      TokenDelta rest{.first_index = live.output.tokens(),
                      .ids = {},
                      .text_offset = said,
                      .text = live.output.text().substr(said),
                      .logprobs = {},
                      .prompt_logprobs = {}};
      reports_.push_back(SequenceTokens{command.sequence, std::move(rest)});
    }
    finish(command.sequence, live);
    return {};
  }
  scheduler::SequenceWork work;
  work.id = command.sequence;
  work.level = command.level;
  work.turn = command.turn;
  work.prompt = std::move(command.prompt);
  work.generated = std::move(command.generated);
  work.tokens_max = command.tokens_max;
  work.sampling = std::move(command.sampling);
  work.adapter = adapter;
  work.cache_salt = adapter;
  work.embeds = command.embeds;
  work.arrival = arrival;
  ALTLAS_TRY_VOID(batch_.admit(std::move(work)));
  Live& placed = live_.emplace(command.sequence, std::move(live)).first->second;
  const Result<void> allowed = allow_next(command.sequence, placed);
  if (allowed.ok()) return {};
  ALTLAS_CHECK(batch_.end(command.sequence), "what lives is in the batch");
  live_.erase(command.sequence);
  return allowed;
}

void ReplicaCore::hold_to_grammar(const SubmitSequence& command, TokenGrammarPtr grammar,
                                  Live& live) {
  live.matcher.emplace(std::move(grammar));
  if (!command.sampling.grammar.think_end.empty())
    live.thinking.emplace(*tokenizer_, command.sampling.grammar, limits_.vocab_size);
  live.ignore_eos = command.sampling.ignore_eos;
  live.min_tokens = static_cast<uint32_t>(std::max(0, command.sampling.min_tokens));
}

// A text that nothing can follow ends at once, even before min_tokens or with ignore_eos.
Result<void> ReplicaCore::take_token(Live& live, int32_t token) {
  if (live.output.finished()) return {};
  live.output.push(token);
  if (!live.matcher || live.output.finished()) return {};
  std::optional<std::string_view> rest;
  if (live.thinking && !live.thinking->over()) {
    rest = live.thinking->take(token);
    if (rest && !live.thinking->over()) return {};
  }
  if (rest ? !live.matcher->accept_bytes(*rest) : !live.matcher->accept(token))
    return Error(ErrorCode::kInternal, fmt::format("token {} does not fit the grammar", token));
  if (live.matcher->is_final() && !live.matcher->can_go_on()) live.output.end();
  return {};
}

// Tells the batch what the grammar allows next.
Result<void> ReplicaCore::allow_next(SequenceId id, Live& live) {
  if (!live.matcher || live.output.finished()) return {};
  const Thinking* thinks = live.thinking && !live.thinking->over() ? &*live.thinking : nullptr;
  if (thinks != nullptr && thinks->begun()) {
    batch_.allow(id, thinks->allowed(*live.matcher));
    return {};
  }
  const bool may_end = !live.ignore_eos && live.output.tokens() >= live.min_tokens;
  AllowedTokens allowed = live.matcher->allowed(may_end);
  if (allowed == nullptr)
    return invalid(
        "the grammar can be read in too many ways at once: make its alternatives start "
        "differently");
  if (std::ranges::all_of(*allowed, [](uint64_t word) { return word == 0; }))
    return invalid("the model has no token that the grammar allows next");
  if (thinks != nullptr) allowed = thinks->or_begin(std::move(allowed));
  batch_.allow(id, std::move(allowed));
  return {};
}

void ReplicaCore::cancel(SequenceId id) {
  const auto live = live_.find(id);
  if (live == live_.end()) return cancel_held(id);
  reports_.push_back(SequenceCanceled{id, live->second.output.tokens()});
  ALTLAS_CHECK(batch_.end(id), "what lives is in the batch");
  live_.erase(live);
}

StepPlan ReplicaCore::plan() { return batch_.plan(); }

void ReplicaCore::commit(const StepResult& result) {
  const std::span<const int64_t> busy =
      result.rank_busy_us.empty() ? std::span(&result.busy_us, 1) : result.rank_busy_us;
  for (size_t rank = 0; rank < std::min(busy_us_.size(), busy.size()); ++rank)
    busy_us_[rank] += busy[rank];
  for (scheduler::SampledSequence& sampled : batch_.commit(result)) {
    const auto live = live_.find(sampled.sequence);
    ALTLAS_CHECK(live != live_.end(), "what is in the batch lives");
    take_tokens(live, sampled);
  }
  say_drained();
}

Error ReplicaCore::not_finite(const Live& live) const {
  const auto adapter = std::ranges::find(adapters_, live.adapter, &HeldAdapter::id);
  const std::string with = live.adapter == 0 || adapter == adapters_.end()
                               ? ""
                               : fmt::format("adapter '{}' and ", adapter->name);
  return {ErrorCode::kInternal,
          fmt::format("the model's output is not finite (NaN or infinity): check {}the weights of "
                      "model '{}'",
                      with, options_.model)};
}

// Tokens after the one that ends the sequence were computed in vain.
void ReplicaCore::take_tokens(std::map<SequenceId, Live>::iterator place,
                              scheduler::SampledSequence& sampled) {
  Live& live = place->second;
  std::ranges::move(sampled.prompt_logprobs, std::back_inserter(live.prompt_logprobs));
  if (!sampled.embedding.empty()) {
    TaskResult result;
    result.finish_reason = FinishReason::kStop;
    result.embedding = std::move(sampled.embedding);
    reports_.push_back(SequenceFinished{sampled.sequence, std::move(result)});
    ALTLAS_CHECK(batch_.end(sampled.sequence), "what lives is in the batch");
    live_.erase(place);
    return;
  }
  if (sampled.tokens.empty() && sampled.finite) return;
  TokenDelta delta{.first_index = live.output.tokens(),
                   .ids = {},
                   .text_offset = live.output.text().size(),
                   .text = "",
                   .logprobs = {},
                   .prompt_logprobs = {}};
  Result<void> fits;
  if (delta.first_index == 0) delta.prompt_logprobs = live.prompt_logprobs;
  for (size_t i = 0; i < sampled.tokens.size() && !live.output.finished() && fits.ok(); ++i) {
    fits = take_token(live, sampled.tokens[i]);
    delta.ids.push_back(sampled.tokens[i]);
    if (live.wants_logprobs) delta.logprobs.push_back(std::move(sampled.logprobs[i]));
  }
  delta.text = live.output.text().substr(delta.text_offset);
  if (!delta.ids.empty()) reports_.push_back(SequenceTokens{sampled.sequence, std::move(delta)});
  if (fits.ok() && !sampled.finite && !live.output.finished()) {
    ++not_finite_;
    fits = not_finite(live);
  }
  if (fits.ok()) fits = allow_next(sampled.sequence, live);
  if (fits.ok() && !live.output.finished()) return;
  if (fits.ok()) {
    finish(sampled.sequence, live);
  } else {
    reports_.push_back(
        SequenceFailed{sampled.sequence, fits.error().code(), fits.error().message()});
  }
  ALTLAS_CHECK(batch_.end(sampled.sequence), "what lives is in the batch");
  live_.erase(place);
}

void ReplicaCore::finish(SequenceId id, Live& live) {
  TaskResult result;
  result.text = live.output.text();
  result.tokens = live.output.tokens();
  result.finish_reason = live.output.finish_reason();
  result.stop_string = live.output.stop_string();
  result.stop_token = live.output.stop_token();
  result.prompt_logprobs = std::move(live.prompt_logprobs);
  reports_.push_back(SequenceFinished{id, std::move(result)});
}

void ReplicaCore::say_drained() {
  if (!drained() || said_drained_) return;
  said_drained_ = true;
  reports_.push_back(ReplicaDrained{});
}

std::vector<Report> ReplicaCore::take_reports() { return std::exchange(reports_, {}); }

// Returns the group whose blocks hold the fewest tokens of one growing sequence; none if all groups
// keep states.
std::optional<uint32_t> ReplicaCore::tightest_group() const {
  std::optional<uint32_t> best;
  for (uint32_t g = 0; g < limits_.groups.size(); ++g) {
    const kv::GroupSpec& group = limits_.groups[g];
    if (group.kind == kv::GroupKind::kState) continue;
    if (!best) {
      best = g;
      continue;
    }
    const kv::GroupSpec& other = limits_.groups[*best];
    const bool more_open =
        group.kind == kv::GroupKind::kFull && other.kind == kv::GroupKind::kWindow;
    if (more_open || (group.kind == other.kind && group.blocks < other.blocks)) best = g;
  }
  return best;
}

ReplicaLoaded ReplicaCore::loaded(std::string simd) const {
  ReplicaLoaded loaded{limits_};
  loaded.simd = std::move(simd);
  loaded.model_len_max = static_cast<uint32_t>(batch_.sequence_tokens_max());
  if (const auto group = tightest_group())
    loaded.kv_blocks = limits_.groups[*group].blocks;
  else
    loaded.block_tokens = 0;  // All groups keep states: there are no blocks to count.
  return loaded;
}

ReplicaStats ReplicaCore::stats() const {
  ReplicaStats stats;
  const scheduler::BatchCounters& counters = batch_.counters();
  stats.steps = counters.steps;
  stats.step_sequences = counters.step_sequences;
  stats.running = static_cast<uint32_t>(batch_.running());
  stats.waiting = static_cast<uint32_t>(batch_.waiting() + held_.size());
  if (const auto group = tightest_group())
    stats.kv_blocks_free = batch_.kv().pool(*group).available();
  stats.preemptions = counters.preemptions;
  stats.prompt_tokens = counters.prompt_tokens;
  stats.generated_tokens = counters.generated_tokens;
  stats.prefix_query_tokens = counters.looked_up_tokens;
  stats.prefix_hit_tokens = counters.cached_tokens;
  stats.swapped_blocks = counters.swapped_blocks;
  stats.speculative_drafted = counters.guessed_tokens;
  stats.speculative_accepted = counters.right_guesses;
  stats.not_finite_outputs = not_finite_;
  stats.device_busy_us = busy_us_;
  for (const replica::RankMemory& rank : limits_.ranks) {
    uint64_t used = rank.fixed();
    for (const HeldAdapter& adapter : adapters_) used += adapter.bytes;
    for (uint32_t g = 0; g < rank.blocks.size(); ++g)
      used += batch_.kv().pool(g).used_count() * rank.blocks[g];
    stats.device_memory_used.push_back(used);
  }
  return stats;
}

uint64_t ReplicaCore::hash() const {
  Hasher h;
  h.add(batch_.hash());
  h.add(live_.size()).add(reports_.size()).add(draining_).add(not_finite_);
  for (const int64_t busy : busy_us_) h.add(busy);
  h.add(compiling_.has_value()).add(held_.size());
  for (const auto& [order, held] : held_)
    h.add(order.turn).add(order.arrival).add(held.command.sequence.value);
  for (const HeldAdapter& one : adapters_)
    h.add(static_cast<uint8_t>(one.state)).add(one.id).add(std::string_view(one.name));
  for (const auto& [id, live] : live_) {
    h.add(id.value).add(live.output.tokens()).add(std::string_view(live.output.text()));
    h.add(live.prompt_logprobs.size());
  }
  return h.value();
}

void ReplicaCore::check_integrity() const {
  batch_.check_integrity();
  ALTLAS_CHECK(live_.size() == batch_.running() + batch_.waiting(), "what lives runs or waits");
  for (const auto& [id, live] : live_) {
    ALTLAS_CHECK(batch_.knows(id) && !live.output.finished(),
                 "what lives is in the batch and not over");
  }
  ALTLAS_CHECK(held_.size() == held_orders_.size(), "what is held is found by its id");
  size_t wanting = 0;
  for (const auto& [key, orders] : wanted_grammars_) wanting += orders.size();
  ALTLAS_CHECK(wanting == held_.size(), "what is held waits for one grammar");
  for (const auto& [id, order] : held_orders_)
    ALTLAS_CHECK(held_.contains(order) && !live_.contains(id), "what is held does not live yet");
}

}  // namespace altlas::engine
