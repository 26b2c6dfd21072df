#include "cli/engine_speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <memory>

#include "base/integers.h"
#include "ops/sample/sample.h"
#include "step/step_plan.h"

namespace altlas::cli {
namespace {

constexpr uint32_t kPromptTokens = 16;  // The prompt's length before a decode with a short context.
constexpr uint32_t kBlock = 16;

uint64_t whole_blocks(uint64_t tokens) { return ceil_div(tokens, kBlock); }

// Token ids of a prompt: spread over the vocabulary, the same in every run.
std::vector<int32_t> prompt_ids(uint32_t count, uint32_t vocab) {
  std::vector<int32_t> ids(count);
  for (uint32_t i = 0; i < count; ++i)
    ids[i] = static_cast<int32_t>((uint64_t{i} * 7919 + 101) % std::max(1u, vocab));
  return ids;
}

class Driver {
 public:
  explicit Driver(engine::Executor& executor) : executor_(executor) {}

  // Computes `length` tokens of each of `count` sequences, in steps as large as they may be.
  Result<void> begin(uint32_t first_slot, uint32_t count, uint32_t length, uint32_t room,
                     const SamplingParams& sampling) {
    const engine::ReplicaLimits& limits = executor_.limits();
    const uint32_t step_max = limits.step_tokens_max;
    for (uint32_t s = 0; s < count; ++s) {
      auto request = std::make_shared<SequenceRequest>();
      request->sampling = sampling;
      request->sampling.seed = s;
      request->prompt = prompt_ids(length, limits.vocab_size);
      const auto slot = static_cast<int32_t>(first_slot + s);
      StepPlan plan;
      plan.starts.push_back({slot, request});
      add_blocks(plan, slot, room);
      for (uint32_t at = 0; at < length; at += step_max) {
        const uint32_t end = std::min(length, at + step_max);
        StepEntry& entry = plan.entries.emplace_back();
        entry.slot = slot;
        entry.position = at;
        entry.tokens.assign(request->prompt.begin() + at, request->prompt.begin() + end);
        entry.samples = end == length;
        ALTLAS_TRY_VOID(step(std::move(plan)));
        plan = {};
      }
    }
    return {};
  }
  // Runs `tokens` steps in which each sequence decodes one token.
  Result<void> decode(uint32_t first_slot, uint32_t count, uint32_t position, uint32_t tokens) {
    for (uint32_t i = 0; i < tokens; ++i) {
      StepPlan plan;
      for (uint32_t s = 0; s < count; ++s) {
        StepEntry& entry = plan.entries.emplace_back();
        entry.slot = static_cast<int32_t>(first_slot + s);
        entry.position = position + i;
        entry.tokens = {kTokenPending};
        entry.samples = true;
      }
      ALTLAS_TRY_VOID(step(std::move(plan)));
    }
    return {};
  }
  // Sequences that begin() adds from now on use the pool's blocks from the first one again.
  void forget_blocks() { next_block_ = 0; }

 private:
  void add_blocks(StepPlan& plan, int32_t slot, uint32_t room) {
    const auto count = static_cast<uint32_t>(whole_blocks(room));
    SlotTables& tables = plan.tables.emplace_back();
    tables.slot = slot;
    for (uint32_t g = 0; g < executor_.limits().groups.size(); ++g) {
      kv::TableChange& table = tables.changes.emplace_back();
      table.group = g;
      for (uint32_t b = 0; b < count; ++b) table.blocks.push_back(BlockId{next_block_ + b});
    }
    next_block_ += count;
  }
  Result<void> step(StepPlan plan) {
    executor_.launch(std::move(plan));
    ALTLAS_TRY(const StepResult result, executor_.collect());
    static_cast<void>(result);
    return {};
  }

  engine::Executor& executor_;
  uint32_t next_block_ = 0;
};

// Bytes of keys and values that `tokens` decode steps from `position` on read.
uint64_t kv_bytes_read(const engine::ReplicaLimits& limits, uint32_t position, uint32_t tokens) {
  uint64_t bytes = 0;
  for (const kv::GroupSpec& group : limits.groups) {
    const uint64_t each = group.block_bytes / std::max(1u, limits.block_tokens);
    const uint64_t window = group.window;
    for (uint32_t i = 1; i <= tokens; ++i) {
      const uint64_t seen = uint64_t{position} + i;
      bytes += each * (window == 0 ? seen : std::min(window, seen));
    }
  }
  return bytes;
}

double seconds_since(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

void add(const model::OpTimes& from, model::OpTimes& to) {
  for (size_t i = 0; i < model::kOpCount; ++i) {
    to.ops[i].ns += from.ops[i].ns;
    to.ops[i].weight_bytes += from.ops[i].weight_bytes;
    to.ops[i].products += from.ops[i].products;
    to.ops[i].float_products += from.ops[i].float_products;
  }
}

// The mean of the middle two where the number of values is even.
double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

const SamplingParams kGreedy{.temperature = 0};

// The parts of one run of the bench.
struct Bench {
  engine::Executor& executor;
  model::OpTimes& times;
  RoofMeter& meter;
  const EngineBenchOptions& options;
  Driver driver{executor};
  EngineFigures figures;

  // Runs `work` and adds its time to `into`.
  template <class Work>
  Result<void> measure(EngineWork& into, Work&& work) {
    times = {};
    const auto from = std::chrono::steady_clock::now();
    ALTLAS_TRY_VOID(work());
    into.seconds.push_back(seconds_since(from));
    add(times, into.times);
    return {};
  }
  uint32_t long_slot() const { return options.sequences_max() - 1; }

  void list_works() {
    const engine::ReplicaLimits& limits = executor.limits();
    figures.works.push_back(
        {.name = fmt::format("prefill {}", options.prefill), .tokens = options.prefill});
    for (const uint32_t batch : options.batches)
      for (const BenchSampling& sampling : options.samplings)
        figures.works.push_back(
            {.name = options.samplings.size() == 1 && sampling.name == "greedy"
                         ? fmt::format("decode {}", batch)
                         : fmt::format("decode {} {}", batch, sampling.name),
             .tokens = batch * options.tokens,
             .kv_bytes = batch * kv_bytes_read(limits, kPromptTokens, options.tokens)});
    if (options.context > 0)
      figures.works.push_back({.name = fmt::format("decode 1 at {}", options.context),
                               .tokens = options.tokens,
                               .kv_bytes = kv_bytes_read(limits, options.context, options.tokens)});
  }
  Result<void> round(const std::function<void(std::string_view)>& say);
};

Result<void> Bench::round(const std::function<void(std::string_view)>& say) {
  say("roofs");
  figures.roofs.raise(figures.round_roofs.emplace_back(meter.measure()));
  EngineWork* work = figures.works.data();
  say(work->name);
  driver.forget_blocks();
  ALTLAS_TRY_VOID(measure(
      *work, [&] { return driver.begin(0, 1, options.prefill, options.prefill, kGreedy); }));
  for (const uint32_t batch : options.batches)
    for (const BenchSampling& sampling : options.samplings) {
      ++work;
      say(work->name);
      driver.forget_blocks();
      ALTLAS_TRY_VOID(
          driver.begin(0, batch, kPromptTokens, kPromptTokens + options.tokens, sampling.params));
      ALTLAS_TRY_VOID(
          measure(*work, [&] { return driver.decode(0, batch, kPromptTokens, options.tokens); }));
    }
  if (options.context == 0) return {};
  ++work;
  say(work->name);
  driver.forget_blocks();
  ALTLAS_TRY_VOID(
      driver.begin(long_slot(), 1, options.context, options.context + options.tokens, kGreedy));
  return measure(*work,
                 [&] { return driver.decode(long_slot(), 1, options.context, options.tokens); });
}

template <class T>
struct SamplingField {
  std::string_view name;
  T SamplingParams::* member;
  T least, most;
};
constexpr SamplingField<float> kFloatFields[] = {
    {"temperature", &SamplingParams::temperature, 0, 100},
    {"top_p", &SamplingParams::top_p, 0, 1},
    {"min_p", &SamplingParams::min_p, 0, 1},
    {"repetition_penalty", &SamplingParams::repetition_penalty, 0.01f, 100},
    {"presence_penalty", &SamplingParams::presence_penalty, -2, 2},
    {"frequency_penalty", &SamplingParams::frequency_penalty, -2, 2},
};
constexpr SamplingField<int32_t> kIntFields[] = {
    {"top_k", &SamplingParams::top_k, 0, 1 << 30},
    {"logprobs", &SamplingParams::logprobs, -1, ops::kTopLogprobsMax},
};

// Reads `value` into the field if it is the one called `name`. Returns whether it is. Errors:
// kInvalid where the value is no number or out of the field's range.
template <class T>
Result<bool> read_field(const SamplingField<T>& field, std::string_view name,
                        std::string_view value, SamplingParams& into) {
  if (field.name != name) return false;
  T number{};
  const char* end = value.data() + value.size();
  const auto read = std::from_chars(value.data(), end, number);
  if (read.ec != std::errc{} || read.ptr != end || !(number >= field.least) ||
      !(number <= field.most))
    return invalid(fmt::format("--sampling: {} is a number from {} to {}, not \"{}\"", name,
                               field.least, field.most, value));
  into.*field.member = number;
  return true;
}

Result<void> read_sampling_field(std::string_view name, std::string_view value,
                                 SamplingParams& into) {
  for (const auto& field : kFloatFields) {
    ALTLAS_TRY(const bool is, read_field(field, name, value, into));
    if (is) return {};
  }
  for (const auto& field : kIntFields) {
    ALTLAS_TRY(const bool is, read_field(field, name, value, into));
    if (is) return {};
  }
  std::string names;
  for (const auto& field : kFloatFields) names += std::string(field.name) + ", ";
  for (const auto& field : kIntFields) names += std::string(field.name) + ", ";
  return invalid(fmt::format("--sampling: \"{}\" is none of {}greedy", name, names));
}

}  // namespace

Result<BenchSampling> parse_bench_sampling(std::string_view text) {
  BenchSampling out{std::string(text), kGreedy};
  if (text == "greedy") return out;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view pair = text.substr(at, end - at);
    const size_t equals = std::min(pair.find('='), pair.size());
    ALTLAS_TRY_VOID(read_sampling_field(
        pair.substr(0, equals), pair.substr(std::min(equals + 1, pair.size())), out.params));
    at = end + 1;
  }
  return out;
}

uint32_t EngineBenchOptions::sequences_max() const {
  return *std::ranges::max_element(batches) + 1;
}
uint32_t EngineBenchOptions::length_max() const {
  return std::max({prefill, kPromptTokens + tokens, context > 0 ? context + tokens : 0});
}
uint64_t EngineBenchOptions::kv_tokens() const {
  const uint64_t decoding =
      *std::ranges::max_element(batches) * whole_blocks(kPromptTokens + tokens);
  return std::max(decoding, whole_blocks(length_max())) * kBlock;
}

double EngineWork::best_tokens_per_s() const { return tokens / *std::ranges::min_element(seconds); }
double EngineWork::median_tokens_per_s() const { return tokens / median(seconds); }
double EngineWork::bytes() const {
  uint64_t sum = 0;
  for (const model::OpTimes::Sum& op : times.ops) sum += op.weight_bytes;
  return static_cast<double>(sum) / static_cast<double>(seconds.size()) +
         static_cast<double>(kv_bytes);
}
double EngineWork::products() const {
  uint64_t sum = 0;
  for (const model::OpTimes::Sum& op : times.ops) sum += op.products;
  return static_cast<double>(sum) / static_cast<double>(seconds.size());
}

RoofShare share_of_roof(const EngineWork& work, std::span<const Roofs> round_roofs) {
  std::vector<double> read, multiply;
  for (size_t round = 0; round < work.seconds.size(); ++round) {
    const Roofs& roofs = round_roofs[round];
    if (roofs.read_bytes_per_s <= 0) return {};
    read.push_back(work.bytes() / roofs.read_bytes_per_s / work.seconds[round]);
    multiply.push_back(work.products() / roofs.int8_macs_per_s / work.seconds[round]);
  }
  const double of_read = median(read), of_int8 = median(multiply);
  return of_read > of_int8 ? RoofShare{of_read, "read"} : RoofShare{of_int8, "int8"};
}

Result<EngineFigures> bench_engine(engine::Executor& executor, model::OpTimes& times,
                                   RoofMeter& meter, const EngineBenchOptions& options,
                                   const std::function<void(std::string_view, double)>& say) {
  Bench bench{executor, times, meter, options};
  bench.list_works();
  const auto steps = static_cast<double>(options.rounds * (bench.figures.works.size() + 1));
  double done = 0;
  for (uint32_t round = 0; round < options.rounds; ++round)
    ALTLAS_TRY_VOID(bench.round([&](std::string_view what) { say(what, done++ / steps); }));
  say("done", 1);
  return std::move(bench.figures);
}

}  // namespace altlas::cli
