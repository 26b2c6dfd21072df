#include "scheduler/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/integers.h"

namespace altlas::scheduler {

namespace {
BatchOptions settled(BatchOptions options) {
  if (kv::keeps_state(options.kv.groups)) options.guesses_max = 0;
  return options;
}
}  // namespace

BatchScheduler::BatchScheduler(BatchOptions options)
    : options_(settled(std::move(options))), kv_(options_.kv) {
  ALTLAS_CHECK(options_.sequences_max > 0 && options_.step_tokens_max > 0,
               "at least one slot and one token");
  for (uint32_t slot = 0; slot < options_.sequences_max; ++slot)
    free_slots_.insert(static_cast<int32_t>(slot));
}

uint64_t BatchScheduler::sequence_tokens_max() const {
  const uint64_t held = kv_.tokens_max();
  return options_.model_len_max == 0 ? held : std::min<uint64_t>(held, options_.model_len_max);
}

Result<void> BatchScheduler::admit(SequenceWork work) {
  if (orders_.contains(work.id)) return Error(ErrorCode::kConflict, "the sequence is already here");
  if (work.prompt.empty())
    return invalid("an empty prompt; at least one token is needed", "prompt");
  if (work.tokens_max < 1 || work.generated.size() >= static_cast<size_t>(work.tokens_max)) {
    return invalid(
        fmt::format("{} tokens are generated and at most {} asked for; at least one must be left",
                    work.generated.size(), work.tokens_max),
        "max_tokens");
  }
  if (options_.whole_prompts && work.prompt.size() > options_.step_tokens_max)
    return invalid(fmt::format("prompt of {} tokens; the model takes {}", work.prompt.size(),
                               options_.step_tokens_max),
                   "prompt");
  ALTLAS_CHECK(!work.embeds || (work.generated.empty() && work.tokens_max == 1),
               "what embeds generates nothing");
  const uint64_t length =
      work.prompt.size() + (work.embeds ? 0 : static_cast<uint64_t>(work.tokens_max));
  if (options_.model_len_max > 0 && length > options_.model_len_max) {
    return invalid(fmt::format("prompt of {} tokens + {} to generate = {}; the model takes {}",
                               work.prompt.size(), work.tokens_max, length, options_.model_len_max),
                   "prompt");
  }
  if (!kv_.fits_alone(length + (work.embeds ? 1 : 0))) {
    return invalid(fmt::format("prompt of {} tokens + {} to generate = {}; the KV cache holds {}",
                               work.prompt.size(), work.tokens_max, length, kv_.tokens_max()),
                   "prompt");
  }
  if (waiting_.size() >= options_.waiting_max) {
    return Error(ErrorCode::kBusy,
                 fmt::format("{} sequences wait, the limit; try again later", waiting_.size()));
  }
  auto request = std::make_shared<SequenceRequest>();
  Sequence s;
  s.id = work.id;
  s.level = work.level;
  s.tokens = work.prompt.tokens();
  s.tokens.insert(s.tokens.end(), work.generated.begin(), work.generated.end());
  s.prompt_tokens = static_cast<uint32_t>(work.prompt.size());
  s.tokens_max = static_cast<uint32_t>(work.tokens_max);
  s.salt = Hasher().add(options_.cache_salt).add(work.cache_salt).value();
  s.pace = GuessPace(options_.guesses_max);
  for (const Payload& payload : work.prompt.payloads())
    s.payloads.push_back({payload.first, payload.tokens, payload.hash});
  request->prompt = std::move(work.prompt);
  request->generated = std::move(work.generated);
  request->sampling = std::move(work.sampling);
  request->adapter = work.adapter;
  request->embeds = work.embeds;
  s.request = std::move(request);
  const Order order{work.turn, work.arrival ? *work.arrival : arrivals_++};
  orders_.emplace(s.id, order);
  waiting_.emplace(order, std::move(s));
  return {};
}

bool BatchScheduler::end(SequenceId id) {
  const auto found = orders_.find(id);
  if (found == orders_.end()) return false;
  if (const auto place = running_.find(found->second); place != running_.end()) {
    kv_.release(place->second.blocks);
    kv_.drop_swapped(place->second.swapped);
    ended_slots_.push_back(place->second.slot);
    running_.erase(place);
  } else {
    const auto waiting = waiting_.find(found->second);
    kv_.drop_swapped(waiting->second.swapped);
    waiting_.erase(waiting);
  }
  orders_.erase(found);
  return true;
}

void BatchScheduler::allow(SequenceId id, AllowedTokens tokens) {
  const auto order = orders_.find(id);
  ALTLAS_CHECK(order != orders_.end(), "a known sequence");
  const auto running = running_.find(order->second);
  Sequence& s = running != running_.end() ? running->second : waiting_.at(order->second);
  s.allowed = std::move(tokens);
}

// Returns the number of tokens that could be computed next, known or pending.
uint32_t BatchScheduler::remaining(const Sequence& s) const {
  const bool waits = s.pending > 0 && (options_.micro_batches > 1 ||
                                       s.request->sampling.grammar.kind != GrammarKind::kNone);
  if (s.guessing || waits || generated(s) + s.pending >= s.tokens_max)
    return 0;  // The last sample's own KV is never needed.
  return static_cast<uint32_t>(s.tokens.size()) + s.pending - s.planned;
}

bool BatchScheduler::wants_logprobs(const Sequence& s) const {
  return s.request->sampling.prompt_logprobs >= 0 && s.logprobs_from + 1 < s.prompt_tokens;
}

// Each prompt token's log-probability is asked for once, by a chunk that lies within the prompt.
uint32_t BatchScheduler::chunk_max(const Sequence& s, uint32_t want) const {
  uint32_t end = s.planned + std::min(want, remaining(s));
  if (wants_logprobs(s))
    end = std::min(end, s.planned < s.logprobs_from ? s.logprobs_from : s.prompt_tokens);
  return end - s.planned;
}

StepPlan BatchScheduler::plan() {
  budget_ = options_.step_tokens_max;
  plan_decodes();
  plan_prefills();
  plan_guesses();
  return assemble();
}

// Sequences that may decode in one step: a pipeline's stages are to have equal ones to work at.
size_t BatchScheduler::decodes_max() const {
  if (options_.micro_batches == 1) return running_.size();
  const auto decoding = static_cast<size_t>(
      std::ranges::count_if(running_, [](const auto& one) { return decodes(one.second); }));
  return ceil_div(decoding, size_t{options_.micro_batches});
}

void BatchScheduler::plan_decodes() {
  if (running_.empty()) return;
  const auto& [first, head] = *running_.begin();
  const bool waiting_first = !waiting_.empty() && waiting_.begin()->first < first;
  // One token of the budget is left for the first in order.
  const uint32_t spare = waiting_first || remaining(head) > 1 ? 1 : 0;
  size_t left = decodes_max();
  for (auto it = running_.begin(); it != running_.end() && budget_ > spare && left > 0; ++it) {
    // schedule() takes blocks only from sequences behind `it`.
    if (remaining(it->second) == 1 && schedule(it, 1)) --left;
  }
}

void BatchScheduler::plan_prefills() {
  Sequences::iterator next_running = running_.begin();
  bool waiting_blocked = false;
  while (budget_ > 0) {
    const auto has_its_share = [&](const Sequence& s) {
      // What decodes beyond a micro batch's part is the next one's.
      const bool waits = options_.micro_batches > 1 && decodes(s);
      return drafts_.contains(s.slot) || remaining(s) == 0 || (waits && remaining(s) == 1);
    };
    while (next_running != running_.end() && has_its_share(next_running->second)) {
      ++next_running;
    }
    const auto next_waiting = waiting_blocked ? waiting_.end() : waiting_.begin();
    if (next_waiting != waiting_.end() &&
        (next_running == running_.end() || next_waiting->first < next_running->first)) {
      const Order order = next_waiting->first;
      waiting_blocked = !try_admit(next_waiting);
      // Admission may have taken slots from sequences behind.
      next_running = running_.lower_bound(order);
    } else if (next_running != running_.end()) {
      const Order order = next_running->first;
      schedule(next_running, budget_);
      next_running = running_.upper_bound(order);
    } else {
      return;
    }
  }
}

// Plans guesses, in the order of service. They take the budget and blocks that nobody else wants.
void BatchScheduler::plan_guesses() {
  if (options_.guesses_max == 0) return;
  uint32_t used = options_.step_tokens_max - budget_;
  for (auto& [order, s] : running_) {
    if (used >= options_.guess_step_tokens || budget_ == 0) return;
    const auto draft = drafts_.find(s.slot);
    if (draft == drafts_.end()) continue;
    StepEntry& entry = draft->second.entry;
    const bool decodes = entry.samples && entry.tokens.size() == 1 &&
                         entry.tokens[0] != kTokenPending && s.in_flight == 1;
    // Each position samples a token, and every one of them must still be within tokens_max.
    const uint32_t left = s.tokens_max - generated(s);
    if (!decodes || left < 2 || s.request->sampling.grammar.kind != GrammarKind::kNone) continue;
    guess(s, entry, std::min({left - 1, budget_, options_.guess_step_tokens - used}));
    used += entry.guesses;
    budget_ -= entry.guesses;
  }
}

void BatchScheduler::guess(Sequence& s, StepEntry& entry, uint32_t most) {
  most = std::min(most, s.pace.take());
  // Some blocks are left for the other sequences to grow into.
  for (uint32_t g = 0; g < kv_.groups() && most > 0; ++g)
    if (kv_.pool(g).available() < 2 * running_.size()) return;
  if (most == 0 || (most = kv_.reservable(s.blocks, entry.position, 1 + most) - 1) == 0) return;
  std::vector<int32_t> guesses = options_.draft_model ? std::vector<int32_t>(most, kTokenGuessed)
                                                      : s.lookup.guess(s.tokens, most);
  if (const auto payload = std::ranges::find(guesses, kTokenPayload); payload != guesses.end())
    guesses.erase(payload, guesses.end());  // No generated token is a payload.
  if (guesses.empty()) return;
  kv_.reserve(s.blocks, entry.position, 1 + static_cast<uint32_t>(guesses.size()), s.changes);
  entry.tokens.insert(entry.tokens.end(), guesses.begin(), guesses.end());
  entry.guesses = static_cast<uint32_t>(guesses.size());
  s.guessing = true;
}

// Plans up to `want` tokens of a running sequence. Returns false if there is no block even for one.
bool BatchScheduler::schedule(Sequences::iterator place, uint32_t want) {
  Sequence& s = place->second;
  want = chunk_max(s, want);
  uint32_t count = 0;
  while ((count = kv_.reservable(s.blocks, s.planned, want)) == 0) {
    if (std::prev(running_.end()) == place) return false;
    preempt(std::prev(running_.end()));
  }
  kv_.reserve(s.blocks, s.planned, count, s.changes);
  Draft& draft = drafts_[s.slot];
  draft.sequence = &s;
  draft.logprobs_from_before = s.logprobs_from;
  StepEntry& entry = draft.entry;
  entry.slot = s.slot;
  entry.position = s.planned;
  if (s.planned < s.tokens.size()) {
    entry.tokens.assign(s.tokens.begin() + s.planned, s.tokens.begin() + s.planned + count);
  } else {
    entry.tokens.assign(1, kTokenPending);
  }
  s.planned += count;
  if (wants_logprobs(s) && entry.position >= s.logprobs_from) {
    entry.prompt_logprobs = true;
    s.logprobs_from = s.planned;
  }
  entry.samples = s.planned == s.tokens.size() + s.pending;
  if (entry.samples) {
    ++s.pending;
    entry.allowed = s.allowed;
  }
  ++s.in_flight;
  budget_ -= count;
  return true;
}

// Returns true if the sequence got a slot and tokens in this step.
bool BatchScheduler::try_admit(Sequences::iterator waiting) {
  Sequence& s = waiting->second;
  if (s.in_flight > 0) return false;  // It was preempted with samples in flight, which come first.
  const Order order = waiting->first;
  // Returns the last running sequence that gives way to this one.
  const auto lower = [&] {
    for (auto one = running_.end(); one != running_.begin();) {
      --one;
      if (one->first.turn <= order.turn) break;
      if (one->second.level > s.level) return one;
    }
    return running_.end();
  };
  const auto lower_runs = [&] { return lower() != running_.end(); };
  if (free_slots_.empty()) {
    if (ended_slots_.empty() && lower_runs()) preempt(lower());
    if (free_slots_.empty())
      return false;  // Slots that end with this step can start with the next.
  }
  if (options_.whole_prompts && s.tokens.size() > budget_) return false;
  std::span<const int32_t> known(s.tokens);
  if (wants_logprobs(s)) known = known.first(s.logprobs_from + 1);  // These must be computed.
  // Each position of the prompt may count in an embedding, so all are computed.
  if (s.request->embeds) known = known.first(1);
  kv::PrefixMatch match;
  while (true) {
    match = kv_.match(s.salt, known, s.payloads);
    const bool any_room = lower_runs() && !options_.whole_prompts;
    // The sequence comes back from host memory if more of it is there than in the prefix cache.
    if (s.swapped.tokens > match.tokens) {
      match = {};
      if (has_room_for_swapped(s, any_room)) break;
      if (!lower_runs()) return false;
      preempt(lower());
      continue;
    }
    if (has_room(s, match, any_room)) break;
    // If the last block would be copied, that copy may be what does not fit.
    if (match.tokens % kv_.block_tokens() != 0) {
      match = kv_.shorten(std::move(match));
      if (has_room(s, match, any_room)) break;
    }
    if (!lower_runs()) return false;
    preempt(lower());
  }
  start(waiting, match);
  return true;
}

// Whether there is room for all known tokens, beside what running prefills will need and a block of
// growth for each sequence. With `any_room`, room for one block is enough.
bool BatchScheduler::has_room(const Sequence& s, const kv::PrefixMatch& match,
                              bool any_room) const {
  for (uint32_t g = 0; g < kv_.groups(); ++g) {
    const bool copies = match.tokens % kv_.block_tokens() != 0;
    const uint64_t kept = kv_.kept_blocks(match, g);
    uint64_t need = 1;
    if (!any_room) {
      need = kv_.blocks_wanted(g, s.tokens.size() + 1, kv_.matched_blocks(match, g)) +
             (copies ? 1 : 0);
      for (const auto& [order, other] : running_)
        need += kv_.blocks_wanted(g, other.tokens.size() + 1, other.blocks.tables[g].blocks.size());
    }
    if (need + kept > kv_.pool(g).available()) return false;
  }
  return true;
}

bool BatchScheduler::has_room_for_swapped(const Sequence& s, bool any_room) const {
  for (uint32_t g = 0; g < kv_.groups(); ++g) {
    const uint32_t back = kv::KvCache::swapped_blocks(s.swapped, g);
    const bool grows = kv_.grows_at(g, s.swapped.tokens);
    if (back + (grows ? 1 : 0) > kv_.pool(g).available()) return false;
  }
  return any_room || has_room(s, {}, false);
}

void BatchScheduler::start(Sequences::iterator waiting, const kv::PrefixMatch& match) {
  const auto place = running_.insert(waiting_.extract(waiting)).position;
  Sequence& s = place->second;
  s.slot = *free_slots_.begin();
  free_slots_.erase(free_slots_.begin());
  if (s.swapped.tokens > match.tokens) {
    s.blocks = kv_.swap_in(s.salt, s.swapped, s.changes);
    s.planned = s.computed = s.swapped.tokens;
  } else {
    kv_.drop_swapped(s.swapped);
    s.blocks = kv_.start(s.salt, match, s.changes);
    s.planned = s.computed = match.tokens;
    counters_.looked_up_tokens += s.request->embeds ? 0 : s.tokens.size();
    counters_.cached_tokens += match.tokens;
  }
  if (s.request->generated.size() != generated(s)) {
    auto request = std::make_shared<SequenceRequest>(*s.request);
    request->generated.assign(s.tokens.begin() + s.prompt_tokens, s.tokens.end());
    s.request = std::move(request);
  }
  ALTLAS_CHECK(schedule(place, budget_), "an admitted sequence has room for a token");
  drafts_[s.slot].starts = true;
}

// Whether the sequence's KV can be copied to host memory and back, and sooner than it could be
// computed again. Blocks that others hold too need not be computed again.
bool BatchScheduler::swap_pays(const Sequence& s) const {
  if (s.guessing || s.request->embeds || !s.changes.copies.empty() ||
      !kv_.can_swap_out(s.blocks, s.planned))
    return false;
  if (options_.prefill_token_ns == 0) return true;
  const uint64_t again = s.planned - kv_.shared_tokens(s.blocks, s.planned);
  const uint64_t one_way =
      kv_.swap_blocks(s.blocks, s.planned) * options_.swap_block_ns + options_.swap_state_ns;
  return 2 * one_way < again * options_.prefill_token_ns;
}

// The sequence gives way: it loses slot and blocks, and this plan's work for it is undone.
void BatchScheduler::preempt(Sequences::iterator place) {
  Sequence& s = place->second;
  const auto draft = drafts_.find(s.slot);
  bool told = true;
  if (draft != drafts_.end()) {
    s.pending -= draft->second.entry.samples ? 1 : 0;
    --s.in_flight;
    s.logprobs_from = draft->second.logprobs_from_before;
    budget_ += static_cast<uint32_t>(draft->second.entry.tokens.size());
    s.planned -= static_cast<uint32_t>(draft->second.entry.tokens.size());
    told = !draft->second.starts;
    drafts_.erase(draft);
  }
  if (told) {
    ended_slots_.push_back(s.slot);
  } else {
    free_slots_.insert(s.slot);
  }
  if (s.swapped.tokens == 0 && swap_pays(s)) {
    const size_t before = swap_out_.size();
    s.swapped = kv_.swap_out(s.blocks, s.planned, swap_out_);
    counters_.swapped_blocks += swap_out_.size() - before;
  }
  kv_.release(s.blocks);
  s.changes = {};
  s.planned = s.computed = 0;
  s.slot = -1;
  ++counters_.preemptions;
  waiting_.insert(running_.extract(place));
}

StepPlan BatchScheduler::assemble() {
  StepPlan plan;
  kv_.forget_copied();
  const bool slots_missing = !waiting_.empty() && free_slots_.empty() && !ended_slots_.empty();
  if (drafts_.empty() && !slots_missing) return plan;
  FlyingStep step{StepId{++steps_}, {}};
  plan.id = step.id;
  for (auto& [slot, draft] : drafts_) {
    Sequence& s = *draft.sequence;
    if (draft.starts) plan.starts.push_back({slot, s.request});
    kv::BlockChanges changes = std::exchange(s.changes, {});
    if (!changes.tables.empty()) plan.tables.push_back({slot, std::move(changes.tables)});
    std::ranges::copy(changes.copies, std::back_inserter(plan.copies));
    std::ranges::copy(changes.swap_in, std::back_inserter(plan.swap_in));
    kv_.drop_swapped(s.swapped);
    const auto count = static_cast<uint32_t>(draft.entry.tokens.size());
    if (draft.entry.position < s.prompt_tokens) {
      counters_.prompt_tokens += std::min(count, s.prompt_tokens - draft.entry.position);
    }
    step.entries.push_back({s.id, slot, s.planned, draft.entry.samples, draft.entry.prompt_logprobs,
                            draft.entry.guesses});
    plan.entries.push_back(std::move(draft.entry));
  }
  counters_.step_sequences += plan.entries.size();
  drafts_.clear();
  plan.swap_out = std::exchange(swap_out_, {});
  std::ranges::sort(ended_slots_);
  free_slots_.insert(ended_slots_.begin(), ended_slots_.end());
  plan.ends = std::exchange(ended_slots_, {});
  in_flight_.push_back(std::move(step));
  counters_.steps = steps_;
  return plan;
}

std::vector<SampledSequence> BatchScheduler::commit(const StepResult& result) {
  ALTLAS_CHECK(!in_flight_.empty() && in_flight_.front().id == result.id,
               "results come in the order of the plans");
  const FlyingStep step = std::move(in_flight_.front());
  in_flight_.pop_front();
  std::vector<SampledSequence> out;
  for (const FlyingEntry& entry : step.entries) {
    const auto order = orders_.find(entry.sequence);
    if (order == orders_.end()) continue;
    const auto running = running_.find(order->second);
    Sequence& s = running != running_.end() ? running->second : waiting_.at(order->second);
    --s.in_flight;
    uint32_t end = entry.end;
    if (entry.samples || entry.prompt_logprobs) {
      const auto sampled = std::ranges::find(result.sampled, entry.slot, &SampledToken::slot);
      ALTLAS_CHECK(sampled != result.sampled.end(), "a result for every entry that samples");
      SampledSequence& one = out.emplace_back();
      one.sequence = s.id;
      one.prompt_logprobs = sampled->prompt_logprobs;
      one.finite = sampled->finite;
      if (entry.samples) take_sample(s, entry, *sampled, one);
      if (!one.finite) continue;  // Nobody shares such a prompt's KV.
      end += static_cast<uint32_t>(sampled->following.size());
    }
    // A sequence that was preempted meanwhile has lost its blocks, but not its samples.
    if (s.slot < 0) continue;
    if (entry.guesses > 0) s.planned = end;
    s.computed = end;
    kv_.publish(s.blocks, s.tokens, s.computed, s.changes, s.payloads);
  }
  return out;
}

namespace {
// How many tokens come before the first that is not finite.
size_t finite_tokens(const SampledToken& sampled) {
  if (!sampled.finite) return 0;
  const auto& following = sampled.following;
  const auto broken = std::ranges::find(following, false, &FollowingToken::finite);
  return 1 + static_cast<size_t>(broken - following.begin());
}
}  // namespace

void BatchScheduler::take_sample(Sequence& s, const FlyingEntry& entry, const SampledToken& sampled,
                                 SampledSequence& out) {
  if (s.request->embeds) {
    ALTLAS_CHECK(!sampled.embedding.empty(), "an embedding for a sequence that embeds");
    --s.pending;
    if (out.finite) out.embedding = sampled.embedding;
    return;
  }
  ALTLAS_CHECK(sampled.token >= 0 && sampled.following.size() <= entry.guesses,
               "a token for every entry that samples, and one per right guess");
  --s.pending;
  out.tokens.push_back(sampled.token);
  out.logprobs.push_back(sampled.logprobs);
  for (const FollowingToken& one : sampled.following) {
    out.tokens.push_back(one.token);
    out.logprobs.push_back(one.logprobs);
  }
  s.tokens.insert(s.tokens.end(), out.tokens.begin(), out.tokens.end());
  if (const size_t good = finite_tokens(sampled); good < out.tokens.size()) {
    out.tokens.resize(good);
    out.logprobs.resize(good);
    out.finite = false;
  }
  counters_.generated_tokens += out.tokens.size();
  if (entry.guesses == 0) return;
  s.guessing = false;
  s.pace.told(entry.guesses, static_cast<uint32_t>(sampled.following.size()));
  counters_.guessed_tokens += entry.guesses;
  counters_.right_guesses += sampled.following.size();
}

uint64_t BatchScheduler::hash() const {
  Hasher h;
  for (const Sequences* sequences : {&running_, &waiting_}) {
    h.add(sequences->size());
    for (const auto& [order, s] : *sequences) {
      h.add(order.turn).add(order.arrival).add(s.level).add(s.id.value);
      h.add(std::span<const int32_t>(s.tokens)).add(s.prompt_tokens).add(s.tokens_max).add(s.salt);
      h.add(s.planned)
          .add(s.computed)
          .add(s.pending)
          .add(s.in_flight)
          .add(s.logprobs_from)
          .add(s.slot)
          .add(s.swapped.tokens)
          .add(s.guessing);
      s.pace.add_to(h);
    }
  }
  h.add(arrivals_).add(steps_).add(in_flight_.size());
  for (const int32_t slot : free_slots_) h.add(slot);
  for (const int32_t slot : ended_slots_) h.add(slot);
  kv_.add_to(h);
  return h.value();
}

void BatchScheduler::check_integrity() const {
  ALTLAS_CHECK(drafts_.empty(), "no plan is in the making");
  ALTLAS_CHECK(running_.size() + waiting_.size() == orders_.size(), "every sequence runs or waits");
  std::set<int32_t> slots = free_slots_;
  for (const int32_t slot : ended_slots_)
    ALTLAS_CHECK(slots.insert(slot).second, "a slot ends once");
  std::vector<const kv::SequenceBlocks*> blocks;
  std::vector<const kv::SwappedBlocks*> swapped;
  std::map<SequenceId, uint32_t> flying;
  for (const FlyingStep& step : in_flight_) {
    for (const FlyingEntry& entry : step.entries) ++flying[entry.sequence];
  }
  for (const Sequences* sequences : {&running_, &waiting_}) {
    for (const auto& [order, s] : *sequences) {
      ALTLAS_CHECK(orders_.at(s.id) == order, "a sequence is found by its id");
      ALTLAS_CHECK((s.slot >= 0) == (sequences == &running_), "who runs has a slot");
      if (s.slot >= 0) ALTLAS_CHECK(slots.insert(s.slot).second, "a slot has one sequence");
      ALTLAS_CHECK(s.computed <= s.planned && s.planned <= s.tokens.size() + s.pending,
                   "computed <= planned <= known");
      ALTLAS_CHECK(s.slot >= 0 || (s.planned == 0 && s.blocks.tables.empty()),
                   "who waits has no blocks");
      ALTLAS_CHECK(s.in_flight == (flying.contains(s.id) ? flying.at(s.id) : 0),
                   "entries in flight are counted");
      ALTLAS_CHECK(s.pending <= s.in_flight, "samples in flight are entries in flight");
      ALTLAS_CHECK(generated(s) + s.pending <= s.tokens_max, "no token more than asked for");
      ALTLAS_CHECK(s.slot < 0 || s.swapped.tokens == 0, "who runs has nothing in host memory");
      blocks.push_back(&s.blocks);
      swapped.push_back(&s.swapped);
    }
  }
  ALTLAS_CHECK(slots.size() == options_.sequences_max, "every slot is free, ended or used");
  kv_.check_integrity(blocks, swapped);
}

}  // namespace altlas::scheduler
