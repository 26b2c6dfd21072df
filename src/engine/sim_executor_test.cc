#include "engine/sim_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/utf8.h"
#include "engine/replica_core.h"

namespace altlas::engine {
namespace {

using ::testing::HasSubstr;

// A dense model of 8 billion parameters with 2 bytes each.
SimOptions options(std::string_view kind = "h100") {
  SimOptions o;
  o.kind = device_kind(kind).value();
  o.shape = {.layers = 32,
             .hidden = 4096,
             .heads = 32,
             .kv_heads = 8,
             .head_dim = 128,
             .ffn = 14336,
             .vocab = 128256,
             .model_len_max = 8192};
  o.shape.weight_bytes = static_cast<uint64_t>(o.shape.parameters() * 2);
  o.sequences_max = 64;
  return o;
}

StepPlan decode_plan(uint32_t sequences, uint32_t position) {
  StepPlan plan;
  plan.id = StepId{1};
  for (uint32_t i = 0; i < sequences; ++i) {
    plan.entries.push_back(
        {.slot = static_cast<int32_t>(i), .position = position, .tokens = {1}, .samples = true});
  }
  return plan;
}

StepPlan prefill_plan(uint32_t tokens) {
  StepPlan plan = decode_plan(1, 0);
  plan.entries[0].tokens.assign(tokens, 1);
  return plan;
}

// Goal: memory is a real device's: weights, activations and KV within the budget, and a model that
// is too large is refused with the numbers.
TEST(SimModel, MemoryIsAccounted) {
  const auto limits = sim_limits(options());
  ASSERT_TRUE(limits.ok());
  EXPECT_EQ(limits->block_bytes(), 2ull * 32 * 8 * 128 * 2 * 16);
  const uint64_t kv = limits->block_bytes() * limits->groups[0].blocks;
  const auto budget = static_cast<uint64_t>(0.9 * (80ull << 30));
  EXPECT_LE(limits->rank(0).fixed() + kv, budget);
  EXPECT_GT(limits->rank(0).fixed() + kv, budget - 2 * limits->block_bytes());
  EXPECT_EQ(limits->model_len_max, 8192u);

  SimOptions large = options("l4");
  large.shape.weight_bytes = 70ull << 30;
  const auto refused = sim_limits(large);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("does not fit: weights 70.00 GiB"));
  large.layout.tensor_parallel_size = 4;
  EXPECT_TRUE(sim_limits(large).ok());
}

// Goal: costs have the order of magnitude and the shape of the roofline: decode by memory, prefill
// by compute.
TEST(SimModel, StepCosts) {
  const SimOptions o = options();
  const double weights_us =
      static_cast<double>(o.shape.weight_bytes) / (o.kind.memory_bytes_per_s * 0.8) * 1e6;
  const auto one = static_cast<double>(sim_step_us(o, decode_plan(1, 10)));
  EXPECT_GT(one, weights_us);
  EXPECT_LT(one, weights_us * 1.5) << "launches and KV are small beside the weights";
  const auto many = static_cast<double>(sim_step_us(o, decode_plan(64, 10)));
  EXPECT_LT(many, one * 1.3) << "64 sequences share one read of the weights";
  EXPECT_GT(sim_step_us(o, decode_plan(64, 8000)), sim_step_us(o, decode_plan(64, 10)) * 3 / 2)
      << "KV is read";
  const double flops_us = 2 * 4096 * o.shape.parameters() / (o.kind.bf16_flops * 0.8) * 1e6;
  const auto prefill = static_cast<double>(sim_step_us(o, prefill_plan(4096)));
  EXPECT_GT(prefill, flops_us * 0.9);
  EXPECT_LT(prefill, flops_us * 1.5);
  SimOptions two = o;
  two.layout.tensor_parallel_size = 2;
  EXPECT_LT(sim_step_us(two, prefill_plan(4096)), sim_step_us(o, prefill_plan(4096)));
  EXPECT_GT(sim_step_us(two, prefill_plan(4096)), sim_step_us(o, prefill_plan(4096)) / 2)
      << "all_reduce is not free";
  EXPECT_LT(sim_step_us(options("h200"), decode_plan(1, 10)), sim_step_us(o, decode_plan(1, 10)));
  EXPECT_EQ(sim_step_us(o, StepPlan{}), 0);
}

SubmitSequence submit(uint64_t id, int32_t tokens_max) {
  SubmitSequence s;
  s.sequence = SequenceId{id};
  for (int32_t i = 0; i < 40; ++i) s.prompt.push_back(i % 5);
  s.tokens_max = tokens_max;
  s.sampling.seed = id;
  return s;
}

// Runs one sequence. Returns its ids and the sum of busy times.
std::pair<std::vector<int32_t>, std::string> run(SubmitSequence s, const text::Tokenizer* tokenizer,
                                                 uint32_t vocab, uint32_t depth) {
  SimOptions o = options();
  o.depth = depth;
  o.shape.vocab = vocab;
  auto executor = SimExecutor::create(o, tokenizer, SimTime::kVirtual, system_clock()).value();
  ReplicaCore core(executor->limits(), {}, tokenizer);
  core.handle(std::move(s));
  std::pair<std::vector<int32_t>, std::string> out;
  while (true) {
    StepPlan plan = core.plan();
    const bool idle = plan.empty();
    if (!idle) executor->launch(std::move(plan));
    if (idle && executor->in_flight() == 0) break;
    if (idle || executor->in_flight() >= executor->depth())
      core.commit(executor->collect().value());
    for (Report& report : core.take_reports()) {
      if (auto* tokens = std::get_if<SequenceTokens>(&report)) {
        out.first.insert(out.first.end(), tokens->delta.ids.begin(), tokens->delta.ids.end());
      }
      if (auto* finished = std::get_if<SequenceFinished>(&report))
        out.second = finished->result.text;
    }
  }
  return out;
}

// Goal: guesses save steps where text repeats itself, and change nothing of it; swapping takes
// time.
TEST(SimExecutor, GuessesAndSwaps) {
  SimOptions o = options();
  o.text_period = 7;
  std::vector<std::vector<int32_t>> said;
  std::vector<uint64_t> steps;
  for (const uint32_t guesses : {0u, 8u}) {
    auto executor = SimExecutor::create(o, nullptr, SimTime::kVirtual, system_clock()).value();
    CoreOptions core_options;
    core_options.speculative_tokens = guesses;
    ReplicaCore core(executor->limits(), core_options, nullptr);
    core.handle(submit(1, 60));
    std::vector<int32_t>& ids = said.emplace_back();
    for (StepPlan plan = core.plan(); !plan.empty(); plan = core.plan()) {
      executor->launch(std::move(plan));
      core.commit(executor->collect().value());
      for (Report& report : core.take_reports())
        if (auto* tokens = std::get_if<SequenceTokens>(&report))
          ids.insert(ids.end(), tokens->delta.ids.begin(), tokens->delta.ids.end());
    }
    steps.push_back(core.stats().steps);
  }
  EXPECT_EQ(said[1], said[0]);
  EXPECT_LT(steps[1], steps[0] / 2);
  StepPlan plan = decode_plan(1, 10);
  const int64_t before = sim_step_us(o, plan);
  plan.swap_in.assign(2000, kv::BlockSwap{});
  EXPECT_GT(sim_step_us(o, plan), before);
}

// Goal: tokens are a function of prompt, seed and position: they are the same in another run, at
// other depths, and after a resume.
TEST(SimExecutor, TokensAreDeterministicAndResume) {
  const auto whole = run(submit(1, 30), nullptr, 1000, 1);
  ASSERT_EQ(whole.first.size(), 30u);
  EXPECT_EQ(run(submit(1, 30), nullptr, 1000, 3), whole);
  EXPECT_NE(run(submit(2, 30), nullptr, 1000, 1).first, whole.first) << "another seed";
  SubmitSequence rest = submit(1, 30);
  rest.generated.assign(whole.first.begin(), whole.first.begin() + 11);
  const auto resumed = run(rest, nullptr, 1000, 2);
  EXPECT_EQ(resumed.first, std::vector<int32_t>(whole.first.begin() + 11, whole.first.end()));
  EXPECT_EQ(resumed.second, whole.second);
}

// Goal: with a vocabulary only whole, printable, ordinary tokens are said.
TEST(SimExecutor, SaysPrintableText) {
  text::Vocabulary v;
  v.model = "gpt2";
  v.pre = "qwen2";
  v.tokens = {"a",          "\u00c3",  "\u010a",
              "<|im_end|>", "\u0120b", "<|x|>"};  // "\u010a" is a line feed, "\u0120" a space.
  v.types = {1, 1, 1, 3, 1, 3};
  v.eos = 3;
  const auto tokenizer = text::Tokenizer::create(std::move(v)).value();
  const auto said = run(submit(1, 200), tokenizer.get(), 6, 1);
  EXPECT_EQ(said.first.size(), 200u);
  std::map<int32_t, int> counts;
  for (const int32_t id : said.first) ++counts[id];
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_GT(counts[0], 50);
  EXPECT_GT(counts[4], 50);
  EXPECT_TRUE(is_valid_utf8(said.second));
}

// A clock that only the test moves: sleeping does not.
class StepClock final : public Clock {
 public:
  TimeUs now() const override { return now_ += 1'000'000; }

 private:
  mutable TimeUs now_ = 0;
};

// Goal: in real time steps queue behind one another, and collect() waits no longer than the step
// needs.
TEST(SimExecutor, RealTime) {
  SimOptions o = options();
  o.depth = 2;
  auto executor = SimExecutor::create(o, nullptr, SimTime::kReal, system_clock()).value();
  StepPlan plan = decode_plan(1, 10);
  auto request = std::make_shared<SequenceRequest>();
  request->prompt = {1};
  plan.starts.push_back({0, request});
  const int64_t cost = executor->step_cost_us(plan);
  const TimeUs begin = system_clock().now();
  executor->launch(plan);
  plan.starts.clear();
  executor->launch(plan);
  ASSERT_EQ(executor->collect()->busy_us, cost);
  ASSERT_TRUE(executor->collect().ok());
  EXPECT_GE(system_clock().now() - begin, 2 * cost);

  // Each look at this clock is a second later, so nothing is due in the future.
  const StepClock late;
  executor = SimExecutor::create(o, nullptr, SimTime::kReal, late).value();
  plan.starts.push_back({0, request});
  executor->launch(plan);
  EXPECT_TRUE(executor->collect().ok());
}

}  // namespace
}  // namespace altlas::engine
