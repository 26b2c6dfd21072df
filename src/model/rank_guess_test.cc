// Tests of a rank that verifies guesses, and of one whose KV is swapped to host memory and back.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/philox.h"
#include "model/rank.h"
#include "model/test_tiny_model.h"

namespace altlas::model {
namespace {

constexpr uint32_t kBlocks = 6;  // Blocks of 16 tokens.
constexpr size_t kTokens = 60;

struct Said {
  std::vector<int32_t> tokens;
  std::vector<TokenLogprobs> logprobs;
};

class RankGuess : public ::testing::Test {
 protected:
  void SetUp() override {
    LoadOptions options{{.model_path = testing_support::write_tiny_gguf("qwen2_tied"),
                         .swap_bytes = 1 << 20,
                         .sequences_max = 2,
                         .step_tokens_max = 32}};
    options.end_of_generation = {0};
    auto loaded = load_rank(options, device_);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    rank_ = std::move(*loaded);
  }

  static StepPlan first_step(std::shared_ptr<const SequenceRequest> what, int32_t slot = 0,
                             uint32_t first_block = 0) {
    StepPlan plan;
    plan.starts.push_back({slot, what});
    kv::TableChange table;
    for (uint32_t b = 0; b < kBlocks; ++b) table.blocks.push_back(BlockId{first_block + b});
    plan.tables.push_back({.slot = slot, .changes = {table}});
    plan.entries.push_back({.slot = slot, .tokens = what->prompt.tokens(), .samples = true});
    return plan;
  }
  SampledToken run(const StepPlan& plan) {
    auto result = rank_->run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    return result.ok() && !result->sampled.empty() ? result->sampled[0] : SampledToken{};
  }
  static void hear(const SampledToken& sampled, Said& said) {
    said.tokens.push_back(sampled.token);
    said.logprobs.push_back(sampled.logprobs);
    for (const FollowingToken& one : sampled.following) {
      said.tokens.push_back(one.token);
      said.logprobs.push_back(one.logprobs);
    }
  }
  // Returns what the rank says token by token.
  Said plain(std::shared_ptr<const SequenceRequest> what) {
    Said said;
    hear(run(first_step(what)), said);
    while (said.tokens.size() < kTokens) {
      StepPlan plan;
      plan.entries.push_back(decode(*what, said));
      hear(run(plan), said);
    }
    end();
    return said;
  }
  static StepEntry decode(const SequenceRequest& what, const Said& said) {
    return {.slot = 0,
            .position = static_cast<uint32_t>(what.prompt.size() + said.tokens.size() - 1),
            .tokens = {said.tokens.back()},
            .samples = true};
  }
  void end() {
    StepPlan last;
    last.ends = {0};
    run(last);
  }

  device::CpuDevice device_{DeviceId{0}, testing_support::cpu(uint64_t{16} << 20, 2)};
  std::unique_ptr<Rank> rank_;
};

std::vector<SamplingParams> samplings() {
  std::vector<SamplingParams> out;
  out.push_back({.temperature = 0});
  out.push_back({.temperature = 0,
                 .repetition_penalty = 1.3f,
                 .presence_penalty = 0.4f,
                 .frequency_penalty = 0.3f});
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    out.push_back({.temperature = 0.9f, .top_p = 0.95f, .seed = seed});
    out.push_back({.temperature = 1.2f,
                   .top_k = 20,
                   .repetition_penalty = 1.1f,
                   .presence_penalty = 0.5f,
                   .seed = seed,
                   .logprobs = 3,
                   .min_tokens = 20});
  }
  return out;
}

// Goal: whatever is guessed, tokens and log-probabilities are those without guesses, greedy or
// sampled, with penalties; exactly the right guesses are kept. Method: guesses of random length
// that are right up to a random place.
TEST_F(RankGuess, GuessesNeverChangeWhatIsSaid) {
  PhiloxStream random{.seed = 5};
  for (const SamplingParams& sampling : samplings()) {
    SCOPED_TRACE(::testing::Message()
                 << "temperature " << sampling.temperature << " seed " << sampling.seed);
    const auto what =
        std::make_shared<SequenceRequest>(SequenceRequest{{5, 9, 2, 7, 30, 11, 3}, {}, sampling});
    const Said want = plain(what);
    Said said;
    hear(run(first_step(what)), said);
    while (said.tokens.size() < kTokens) {
      StepEntry entry = decode(*what, said);
      const size_t left = kTokens - said.tokens.size();
      entry.guesses = static_cast<uint32_t>(random.below(std::min<size_t>(left, 9)));
      const size_t right = random.below(entry.guesses + 1);
      for (uint32_t i = 0; i < entry.guesses; ++i) {
        const int32_t next = want.tokens[said.tokens.size() + i];
        entry.tokens.push_back(i < right ? next : (next + 1) % 64);
      }
      StepPlan plan;
      plan.entries.push_back(entry);
      const SampledToken sampled = run(plan);
      EXPECT_EQ(sampled.following.size(), right);
      hear(sampled, said);
    }
    end();
    EXPECT_EQ(said.tokens, want.tokens);
    if (sampling.logprobs >= 0) EXPECT_EQ(said.logprobs, want.logprobs);
  }
}

// Goal: guesses that break the contract are refused.
TEST_F(RankGuess, RefusesWrongGuesses) {
  const auto what =
      std::make_shared<SequenceRequest>(SequenceRequest{{5, 9}, {}, {.temperature = 0}});
  const auto refused = [&](auto&& damage) {
    StepPlan plan = first_step(what);
    damage(plan.entries[0]);
    EXPECT_FALSE(rank_->run(plan).ok());
  };
  refused([](StepEntry& e) { e.guesses = 2; });
  refused([](StepEntry& e) { e.guesses = 1, e.samples = false; });
  refused([](StepEntry& e) { e.guesses = 1, e.prompt_logprobs = true; });
  refused([](StepEntry& e) { e.guesses = 1, e.tokens[1] = kTokenGuessed; });
  refused([](StepEntry& e) { e.guesses = 1, e.tokens[1] = 64; });
}

// Goal: a sequence whose blocks went to host memory and were then used by another, and which came
// back in other blocks and another slot, goes on as if it had stayed.
TEST_F(RankGuess, SwappedBlocksComeBackWhole) {
  const auto what = std::make_shared<SequenceRequest>(
      SequenceRequest{{5, 9, 2, 7, 30, 11, 3, 8, 1, 22, 4, 6, 13, 17, 19, 20, 21}, {}, {}});
  const Said want = plain(what);
  Said said;
  hear(run(first_step(what)), said);
  StepPlan out;
  for (uint32_t b = 0; b < 2; ++b) out.swap_out.push_back({0, BlockId{b}, 7 - b});
  out.ends = {0};
  const auto other =
      std::make_shared<SequenceRequest>(SequenceRequest{std::vector<int32_t>(30, 3), {}, {}});
  StepPlan foreign = first_step(other, 1);
  foreign.swap_out = out.swap_out;
  foreign.ends = {0};
  run(foreign);
  auto resumed = std::make_shared<SequenceRequest>(*what);
  resumed->generated = said.tokens;
  StepPlan back = first_step(resumed, 0, 10);
  for (uint32_t b = 0; b < 2; ++b) back.swap_in.push_back({0, BlockId{10 + b}, 7 - b});
  back.entries[0] = decode(*what, said);
  hear(run(back), said);
  while (said.tokens.size() < kTokens) {
    StepPlan plan;
    plan.entries.push_back(decode(*what, said));
    hear(run(plan), said);
  }
  EXPECT_EQ(said.tokens, want.tokens);
  StepPlan wrong;
  wrong.swap_in.push_back({0, BlockId{0}, rank_->shape().swap_places});
  EXPECT_FALSE(rank_->run(wrong).ok());
  wrong.swap_in = {{1, BlockId{0}, 0}};
  EXPECT_FALSE(rank_->run(wrong).ok());
}

// Goal: a draft model's guesses change nothing; a model that drafts for itself is always right.
// Its bytes are in the shape and in the device's ledger.
TEST_F(RankGuess, DraftModelGuesses) {
  const std::string own = testing_support::write_tiny_gguf("qwen2_tied");
  for (const std::string& draft : {own, testing_support::write_tiny_gguf("qwen2_untied")}) {
    device::CpuDevice device(DeviceId{1}, testing_support::cpu(uint64_t{16} << 20, 2));
    LoadOptions options;
    options.model_path = own;
    options.draft_model_path = draft;
    options.sequences_max = 2;
    options.step_tokens_max = 32;
    auto loaded = load_rank(options, device);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    const ReplicaShape& shape = (*loaded)->shape();
    EXPECT_TRUE(shape.draft_model);
    EXPECT_GT(shape.weight_bytes, rank_->shape().weight_bytes);
    EXPECT_GT(shape.block_bytes, rank_->shape().block_bytes);
    EXPECT_GE(device.memory_use().used,
              shape.weight_bytes + shape.activation_bytes + shape.kv_bytes());
    std::swap(rank_, *loaded);
    for (const SamplingParams& sampling : samplings()) {
      const auto what =
          std::make_shared<SequenceRequest>(SequenceRequest{{5, 9, 2, 7, 30, 11, 3}, {}, sampling});
      const Said want = plain(what);
      Said said;
      hear(run(first_step(what)), said);
      size_t guessed = 0, right = 0;
      while (said.tokens.size() < kTokens) {
        StepEntry entry = decode(*what, said);
        entry.guesses =
            static_cast<uint32_t>(std::min<size_t>(kTokens - said.tokens.size() - 1, 5));
        entry.tokens.insert(entry.tokens.end(), entry.guesses, kTokenGuessed);
        StepPlan plan;
        plan.entries.push_back(entry);
        const SampledToken sampled = run(plan);
        guessed += entry.guesses;
        right += sampled.following.size();
        hear(sampled, said);
      }
      end();
      EXPECT_EQ(said.tokens, want.tokens);
      const bool greedy = sampling.temperature == 0 && sampling.repetition_penalty == 1;
      if (draft == own && greedy) EXPECT_EQ(right, guessed);
    }
    std::swap(rank_, *loaded);
  }
  LoadOptions options{{.model_path = own}};
  options.draft_model_path = "/nonexistent.gguf";
  EXPECT_EQ(load_shape(options, uint64_t{16} << 20, 1).error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace altlas::model
