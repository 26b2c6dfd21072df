#include "engine/sim_executor.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/philox.h"
#include "base/utf8.h"

namespace altlas::engine {

namespace {
// Returns the ids whose tokens are whole, printable text by themselves.
std::vector<int32_t> printable_ids(const text::Tokenizer& tokenizer, uint32_t vocab) {
  std::vector<int32_t> out;
  const int32_t count = std::min(tokenizer.vocab_size(), static_cast<int32_t>(vocab));
  for (int32_t id = 0; id < count; ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (bytes.empty() || tokenizer.is_control(id) || tokenizer.is_end_of_generation(id)) continue;
    const bool printable = std::ranges::all_of(
        bytes, [](char c) { return static_cast<uint8_t>(c) >= 0x20 && c != 0x7f; });
    if (printable && is_valid_utf8(bytes)) out.push_back(id);
  }
  return out;
}
// What the modelled encoder gives for one row of a payload: a function of the content hash.
uint64_t payload_row(const Payload& payload, uint32_t row) {
  return Hasher()
      .add(std::string_view(reinterpret_cast<const char*>(payload.hash.bytes.data()),
                            payload.hash.bytes.size()))
      .add(row)
      .value();
}
constexpr uint64_t kEmbeddingStream = 0x52;
constexpr uint64_t kTokenStream = 0x51;  // Keeps these draws apart from the seed's others.
constexpr uint64_t kGuessStream = 0xA7;
}  // namespace

Result<std::unique_ptr<SimExecutor>> SimExecutor::create(const SimOptions& options,
                                                         const text::Tokenizer* tokenizer,
                                                         SimTime time, const Clock& clock) {
  ALTLAS_TRY(ReplicaLimits limits, sim_limits(options));
  if (options.depth < 1) return invalid("executor_depth is at least 1", "executor_depth");
  return std::unique_ptr<SimExecutor>(
      new SimExecutor(options, std::move(limits), tokenizer, time, clock));
}

SimExecutor::SimExecutor(const SimOptions& options, ReplicaLimits limits,
                         const text::Tokenizer* tokenizer, SimTime time, const Clock& clock)
    : options_(options),
      limits_(std::move(limits)),
      time_(time),
      clock_(clock),
      slots_(limits_.sequences_max) {
  if (tokenizer != nullptr) ids_ = printable_ids(*tokenizer, limits_.vocab_size);
}

int32_t SimExecutor::token_at(const Slot& slot, uint32_t position, uint32_t draw) const {
  const auto prompt = static_cast<uint32_t>(slot.request->prompt.size());
  if (options_.text_period > 0 && position > prompt)
    position = prompt + (position - prompt) % options_.text_period;
  const auto words =
      philox(slot.request->sampling.seed ^ slot.prompt_hash, position, kTokenStream + draw);
  const uint64_t bound = ids_.empty() ? limits_.vocab_size : ids_.size();
  const uint64_t index = uint64_t{words[0]} * bound >> 32;
  return ids_.empty() ? static_cast<int32_t>(index) : ids_[index];
}

// Returns one of the tokens that the grammar allows, all equally likely. `allowed` holds at least
// one.
int32_t SimExecutor::allowed_token(const Slot& slot, uint32_t position,
                                   const std::vector<uint64_t>& allowed) const {
  uint64_t count = 0;
  for (const uint64_t word : allowed) count += static_cast<uint64_t>(std::popcount(word));
  const auto words = philox(slot.request->sampling.seed ^ slot.prompt_hash, position, kTokenStream);
  uint64_t left = uint64_t{words[0]} * count >> 32;
  for (size_t w = 0; w < allowed.size(); ++w) {
    const auto here = static_cast<uint64_t>(std::popcount(allowed[w]));
    if (left >= here) {
      left -= here;
      continue;
    }
    uint64_t word = allowed[w];
    for (; left > 0; --left) word &= word - 1;
    return static_cast<int32_t>(w * 64) + std::countr_zero(word);
  }
  ALTLAS_CHECK(false, "a grammar allows at least one token");
}

// The sampled token is the most likely one, with probability 1/2; the others follow by halves.
TokenLogprobs SimExecutor::logprobs(const Slot& slot, uint32_t position, int32_t token) const {
  constexpr float kLn2 = 0.6931472f;
  TokenLogprobs out{.id = token, .logprob = -kLn2, .top = {}};
  for (int32_t i = 0; i < slot.request->sampling.logprobs; ++i) {
    const int32_t id = i == 0 ? token : token_at(slot, position, static_cast<uint32_t>(i));
    out.top.emplace_back(id, -kLn2 * static_cast<float>(i + 1));
  }
  return out;
}

bool SimExecutor::guesses_right(const Slot& slot, int32_t guess, uint32_t position) const {
  if (guess != kTokenGuessed) return guess == token_at(slot, position, 0);
  return philox(slot.prompt_hash, position, kGuessStream)[0] % 4 != 0;
}

// The embedding follows from the prompt's tokens, so texts that share many tokens are near each
// other.
std::vector<float> SimExecutor::embedding(const Slot& slot) const {
  std::vector<float> values(limits_.embedding_size);
  std::vector<uint64_t> rows(slot.request->prompt.begin(), slot.request->prompt.end());
  for (const Payload& payload : slot.request->prompt.payloads())
    for (uint32_t row = 0; row < payload.tokens; ++row)
      rows[payload.first + row] = payload_row(payload, row);
  for (const uint64_t row : rows) {
    for (uint32_t i = 0; i < values.size(); i += 4) {
      const auto words = philox(row, i, kEmbeddingStream);
      for (uint32_t k = 0; k < 4 && i + k < values.size(); ++k)
        values[i + k] += static_cast<float>(words[k]) * 0x1p-31f - 1;
    }
  }
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  const auto scale = static_cast<float>(1 / std::sqrt(std::max(sum, 1e-30)));
  for (float& value : values) value *= scale;
  return values;
}

SampledToken SimExecutor::sample(const StepEntry& entry) const {
  const Slot& slot = slots_[static_cast<size_t>(entry.slot)];
  const auto known = static_cast<uint32_t>(entry.tokens.size()) - entry.guesses;
  const uint32_t end = entry.position + known;
  SampledToken sampled{
      .slot = entry.slot, .token = -1, .logprobs = {}, .prompt_logprobs = {}, .following = {}};
  if (entry.prompt_logprobs) {
    const auto& prompt = slot.request->prompt;
    for (uint32_t p = entry.position + 1; p <= end && p < prompt.size(); ++p) {
      sampled.prompt_logprobs.push_back(logprobs(slot, p, prompt[p]));
    }
  }
  if (entry.samples && slot.request->embeds) {
    sampled.embedding = embedding(slot);
  } else if (entry.samples) {
    const bool tells = slot.request->sampling.logprobs >= 0;
    sampled.token =
        entry.allowed ? allowed_token(slot, end, *entry.allowed) : token_at(slot, end, 0);
    if (tells) sampled.logprobs = logprobs(slot, end, sampled.token);
    for (uint32_t i = 0; i < entry.guesses; ++i) {
      if (!guesses_right(slot, entry.tokens[known + i], end + i)) break;
      FollowingToken& next = sampled.following.emplace_back();
      next.token = token_at(slot, end + i + 1, 0);
      if (tells) next.logprobs = logprobs(slot, end + i + 1, next.token);
    }
  }
  return sampled;
}

Result<uint64_t> SimExecutor::load_adapter(uint32_t id, const std::string& path) {
  const std::lock_guard lock(adapters_mutex_);
  adapters_[id] = Hasher().add(std::string_view(path)).value();
  return uint64_t{0};
}

void SimExecutor::drop_adapter(uint32_t id) {
  const std::lock_guard lock(adapters_mutex_);
  adapters_.erase(id);
}

uint64_t SimExecutor::adapter_hash(uint32_t id) {
  const std::lock_guard lock(adapters_mutex_);
  const auto adapter = adapters_.find(id);
  ALTLAS_CHECK(adapter != adapters_.end(), "a step names an adapter that is loaded");
  return adapter->second;
}

uint64_t SimExecutor::prompt_hash(const SequenceRequest& request) {
  Hasher hash;
  hash.add(std::span<const int32_t>(request.prompt.tokens()));
  for (const Payload& payload : request.prompt.payloads())
    for (uint32_t row = 0; row < payload.tokens; ++row) hash.add(payload_row(payload, row));
  return request.adapter == 0 ? hash.value() : hash.add(adapter_hash(request.adapter)).value();
}

StepResult SimExecutor::run(const StepPlan& plan) {
  StepResult result{.id = plan.id, .sampled = {}, .busy_us = step_cost_us(plan)};
  if (limits_.ranks.size() > 1) result.rank_busy_us.assign(limits_.ranks.size(), result.busy_us);
  for (const SlotStart& start : plan.starts) {
    Slot& slot = slots_.at(static_cast<size_t>(start.slot));
    slot.request = start.request;
    slot.prompt_hash = prompt_hash(*start.request);
  }
  for (const StepEntry& entry : plan.entries) {
    const auto& request = slots_.at(static_cast<size_t>(entry.slot)).request;
    ALTLAS_CHECK(request != nullptr, "an entry's slot was started");
    if (request->adapter != 0) adapter_hash(request->adapter);
    if (entry.samples || entry.prompt_logprobs) result.sampled.push_back(sample(entry));
  }
  for (const int32_t slot : plan.ends) slots_.at(static_cast<size_t>(slot)) = Slot{};
  return result;
}

void SimExecutor::launch(StepPlan plan) {
  ALTLAS_CHECK(in_flight() < depth(), "at most depth() steps in flight");
  Flying flying{run(plan), 0};
  last_due_ = flying.due = std::max(last_due_, clock_.now()) + flying.result.busy_us;
  flying_.push_back(std::move(flying));
}

Result<StepResult> SimExecutor::collect() {
  ALTLAS_CHECK(!flying_.empty(), "a step in flight");
  Flying flying = std::move(flying_.front());
  flying_.pop_front();
  if (time_ == SimTime::kReal) {
    const TimeUs wait = flying.due - clock_.now();
    if (wait > 0) std::this_thread::sleep_for(std::chrono::microseconds(wait));
  }
  return std::move(flying.result);
}

}  // namespace altlas::engine
