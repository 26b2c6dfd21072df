#include "plan/serving.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>
#include <vector>

namespace altlas::plan {
namespace {

constexpr int32_t kRounds = 10;  // Each client sends this many requests.
// Above this many requests, two rounds are enough.
constexpr int32_t kRequestsUseful = 4096;
// Steps of the golden ratio fill an interval evenly, whatever their number.
constexpr double kGolden = 0.6180339887498949;
constexpr double kPlastic = 0.7548776662466927;
constexpr double kActivationRowBytes = 2;  // Values of a row between operators are BF16.
constexpr double kReservedBytes = 2.5e9;   // Context, graphs and communication buffers.

struct Request {
  double arrived = 0;
  double first = -1;  // The time of its first token; -1: not yet.
  // Tokens to prefill: the prompt, and after a preemption also its answer so far.
  int32_t input = 0;
  int32_t output = 0;  // Tokens to generate in all.
  int32_t prefilled = 0;
  int32_t left = 0;     // Tokens to generate after the first of this prefill.
  int64_t ends_at = 0;  // The count of decode steps at which it is finished.
};

class ClosedLoop {
 public:
  ClosedLoop(const StepModel& model, const EngineModel& engine, const ServingLoad& load,
             double kv_tokens)
      : model_(model), engine_(engine), load_(load), kv_tokens_(kv_tokens) {
    int64_t total = int64_t{load.concurrency} * kRounds;
    if (total > kRequestsUseful)
      total = std::max<int64_t>(kRequestsUseful, int64_t{load.concurrency} * 2);
    total_ = total;
  }

  ServingFigures run() {
    for (int32_t i = 0; i < load_.concurrency; ++i) arrive();
    while (answered_ < total_) {
      admit();
      if (prefilling_.empty())
        decode_run();
      else
        prefill_step();
    }
    const auto count = static_cast<double>(total_);
    ServingFigures figures{.ttft_ms = (ttft_sum_ / count + engine_.request_s) * 1e3,
                           .tpot_ms = tpot_sum_ / count * 1e3};
    const double request_s =
        figures.ttft_ms / 1e3 + figures.tpot_ms / 1e3 * (load_.output_tokens - 1);
    figures.output_tokens_per_s = load_.concurrency * load_.output_tokens / request_s;
    return figures;
  }

 private:
  void arrive() {
    if (sent_ >= total_) return;
    ++sent_;
    const double place = static_cast<double>(sent_);
    const int32_t input = drawn(load_.input_tokens, place * kGolden);
    const int32_t output = drawn(load_.output_tokens, place * kPlastic);
    waiting_.push_back(
        Request{.arrived = now_, .input = input, .output = output, .left = output - 1});
  }

  // Returns a length between the least share and the whole of `tokens`.
  int32_t drawn(int32_t tokens, double place) const {
    const double share = 1 - (1 - load_.length_share_min) * (place - std::floor(place));
    return std::max(1, static_cast<int32_t>(std::lround(tokens * share)));
  }

  double need(const Request& r) const { return r.input + engine_.answer_reserved * (r.left + 1); }

  // Moves requests from waiting to prefilling as memory and the number of sequences allow.
  void admit() {
    while (!waiting_.empty()) {
      const double running =
          static_cast<double>(decoding_.size()) + static_cast<double>(prefilling_.size());
      if (running >= engine_.sequences_max) return;
      if (running > 0 && held_ + need(waiting_.front()) > kv_tokens_) return;
      held_ += need(waiting_.front());
      prefilling_.push_back(waiting_.front());
      waiting_.pop_front();
    }
  }

  // Returns how many of a prompt's tokens this step takes.
  double share_of(const Request& r, double budget, bool first) const {
    const double wanted = r.input - r.prefilled;
    if (engine_.policy == PrefillPolicy::kWhole) return wanted <= budget || first ? wanted : 0;
    return std::min(wanted, budget);
  }

  void prefill_step() {
    const bool decodes = engine_.policy != PrefillPolicy::kFirst;
    const double batch = decodes ? static_cast<double>(decoding_.size()) : 0;
    double budget = std::max(1.0, engine_.step_tokens_max - batch);
    StepLoad step{
        .decode_sequences = batch, .decode_context = decodes ? context_ : 0, .sampled = batch};
    std::vector<std::pair<size_t, double>> taken;
    for (size_t i = 0; i < prefilling_.size() && budget > 0; ++i) {
      Request& r = prefilling_[i];
      const double tokens = share_of(r, budget, i == 0);
      if (tokens <= 0) break;
      step.prefill_sequences += 1;
      step.prefill_tokens += tokens;
      step.prefill_pairs += tokens * (r.prefilled + (tokens + 1) / 2);
      r.prefilled += static_cast<int32_t>(tokens);
      if (r.prefilled >= r.input) step.sampled += 1;
      budget -= tokens;
    }
    now_ += step_seconds(model_, step) + engine_.step_s;
    if (decodes && batch > 0) decoded(1);
    while (!prefilling_.empty() && prefilling_.front().prefilled >= prefilling_.front().input) {
      Request r = prefilling_.front();
      prefilling_.pop_front();
      prefilled(r);
    }
    make_room();
  }

  void prefilled(Request& r) {
    if (r.first < 0) {
      r.first = now_;
      ttft_sum_ += now_ - r.arrived;
    }
    if (r.left <= 0) return answer(r);
    r.ends_at = decode_steps_ + r.left;
    context_ += r.input + 1;
    held_ += 1 - engine_.answer_reserved;
    const auto later = [](const Request& a, const Request& b) { return a.ends_at < b.ends_at; };
    decoding_.insert(std::ranges::upper_bound(decoding_, r, later), r);
  }

  // Books `steps` decode steps.
  void decoded(int64_t steps) {
    decode_steps_ += steps;
    const auto grown = static_cast<double>(decoding_.size()) * static_cast<double>(steps);
    context_ += grown;
    held_ += grown * (1 - engine_.answer_reserved);
    while (!decoding_.empty() && decoding_.front().ends_at <= decode_steps_) {
      const Request r = decoding_.front();
      decoding_.pop_front();
      release(r);
      answer(r);
    }
  }

  void release(const Request& r) {
    const auto left = static_cast<double>(std::max<int64_t>(0, r.ends_at - decode_steps_));
    const double length = r.input + r.left + 1 - left;
    context_ -= length;
    held_ -= length + engine_.answer_reserved * left;
  }

  void answer(const Request& r) {
    ++answered_;
    if (r.output > 1) tpot_sum_ += (now_ - r.first) / (r.output - 1);
    arrive();
  }

  // Runs decode steps until the next answer, or until memory is full.
  void decode_run() {
    const auto batch = static_cast<double>(decoding_.size());
    int64_t steps = decoding_.front().ends_at - decode_steps_;
    const double growth = batch * (1 - engine_.answer_reserved);
    if (growth > 0) {
      const double room = std::floor((kv_tokens_ - held_) / growth);
      steps = std::clamp(static_cast<int64_t>(room) + 1, int64_t{1}, steps);
    }
    const StepLoad step{.decode_sequences = batch,
                        .decode_context = context_ + batch * static_cast<double>(steps - 1) / 2,
                        .sampled = batch};
    now_ += static_cast<double>(steps) * (step_seconds(model_, step) + engine_.step_s);
    decoded(steps);
    make_room();
  }

  // Preempts the request with the most left to do; it is computed again later.
  void make_room() {
    while (held_ > kv_tokens_ && decoding_.size() > 1) {
      Request r = decoding_.back();
      decoding_.pop_back();
      release(r);
      const auto left = static_cast<int32_t>(r.ends_at - decode_steps_);
      r.input += r.left + 1 - left;
      r.left = left - 1;
      r.prefilled = 0;
      waiting_.push_front(r);
    }
  }

  const StepModel& model_;
  const EngineModel& engine_;
  const ServingLoad& load_;
  const double kv_tokens_;
  int64_t total_ = 0;
  int64_t sent_ = 0;
  int64_t answered_ = 0;
  int64_t decode_steps_ = 0;
  double now_ = 0;
  double context_ = 0;  // Tokens in the context of decoding sequences.
  double held_ = 0;     // Tokens of KV that are taken or reserved.
  double ttft_sum_ = 0;
  double tpot_sum_ = 0;
  std::deque<Request> waiting_;
  std::deque<Request> prefilling_;
  std::deque<Request> decoding_;  // In the order of their answers.
};
}  // namespace

double kv_bytes_per_value(const StepModel& model, const EngineModel& engine) {
  const bool narrow =
      engine.kv == KvChoice::kCheckpoint ||
      (engine.kv == KvChoice::kCheckpointOnFp4Devices && model.device.computes(MathType::kFp4));
  return narrow ? model.weights.kv_bytes_per_value : 2;
}

MemoryPlan memory_plan(const StepModel& model, const EngineModel& engine) {
  const ModelShape& s = model.shape;
  const double tensor = std::max(1, model.layout.tensor_parallel_size);
  const double stages = std::max(1, model.layout.pipeline_parallel_size);
  const double layers_share = std::ceil(s.layers / stages) / s.layers;
  MemoryPlan plan;
  const double body = s.parameters() - s.vocabulary_parameters();
  // Embedding and head stay in BF16. With stages they are on different devices.
  const double vocabulary = s.vocabulary_parameters() * 2 / tensor / std::min(stages, 2.0);
  plan.weights = body * model.weights.bytes_per_value / tensor * layers_share + vocabulary;
  const double widest =
      std::max(2.0 * s.ffn * std::max(1, s.experts_used), 1.0 * s.hidden) / tensor;
  plan.activations = engine.step_tokens_max * (3.0 * s.hidden + widest) * kActivationRowBytes +
                     256.0 * s.vocab * 4 / tensor + kReservedBytes;
  plan.budget = static_cast<double>(model.device.kind.memory_bytes) * engine.memory_share;
  plan.kv_per_token = s.kv_values_per_token(model.layout.tensor_parallel_size) * layers_share *
                      model.weights.kv_bytes_per_value;
  plan.kv_tokens = (plan.budget - plan.weights - plan.activations) / plan.kv_per_token;
  return plan;
}

Result<ServingFigures> predict_serving(const StepModel& model, const EngineModel& engine,
                                       const ServingLoad& load) {
  const MemoryPlan memory = memory_plan(model, engine);
  if (memory.kv_tokens < load.input_tokens + load.output_tokens) {
    return invalid(fmt::format(
        "does not fit: weights {:.1f} GB + activations {:.1f} GB + KV of {} tokens {:.1f} GB per "
        "device exceed {:.1f} GB of {}",
        memory.weights / 1e9, memory.activations / 1e9, load.input_tokens + load.output_tokens,
        memory.kv_per_token * (load.input_tokens + load.output_tokens) / 1e9, memory.budget / 1e9,
        model.device.kind.name));
  }
  return ClosedLoop(model, engine, load, memory.kv_tokens).run();
}

}  // namespace altlas::plan
