// Tests of a rank's bookkeeping alone, with a Forward that computes nothing of a model.
#include "model/rank_steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/adapter.h"
#include "model/test_tiny_model.h"

namespace altlas::model {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kVocabulary = 50;
constexpr int32_t kBroken = 33;  // Its logits and hidden state are not finite.

// After token n comes n + 1, with log-probability -n. Every call is recorded.
class PretendedForward final : public Forward {
 public:
  Result<void> failure() const override { return {}; }
  explicit PretendedForward(std::vector<std::string>& calls) : calls_(calls) {}

  bool gives_results() const override { return true; }
  bool all_ready(bool ready) override { return ready; }
  uint32_t best_rows_max() const override { return 4; }
  uint32_t head_rows_max() const override { return 2; }
  void forward(std::span<const BatchEntry> entries) override {
    ids_.clear();
    std::string said = "forward";
    for (const BatchEntry& entry : entries) {
      said += fmt::format(" {}:", entry.position);
      for (const int32_t id : entry.tokens) {
        said += fmt::format(" {}", id);
        ids_.push_back(id);
      }
    }
    calls_.push_back(said);
  }
  void final_hidden(uint32_t row, std::span<float> out) override {
    std::ranges::fill(out, 0.0f);
    out[static_cast<size_t>(ids_[row]) % out.size()] = ids_[row] == kBroken ? NAN : 1;
  }
  void best_tokens(std::span<const uint32_t> rows, std::span<BestToken> out) override {
    calls_.push_back(fmt::format("best of {}", rows.size()));
    for (size_t i = 0; i < rows.size(); ++i) out[i] = {ids_[rows[i]] + 1, ids_[rows[i]] != kBroken};
  }
  void head(std::span<const HeadRow> rows, std::span<HeadAnswer> answers) override {
    calls_.push_back(fmt::format("head of {}", rows.size()));
    for (size_t i = 0; i < rows.size(); ++i) {
      const int32_t id = ids_[rows[i].row];
      answers[i].token = id + 1;
      answers[i].finite = id != kBroken;
      answers[i].logprob = static_cast<float>(-id);
      answers[i].known_logprob = static_cast<float>(-rows[i].ask.known);
      answers[i].likely_count = 1;
      answers[i].likely[0] = {static_cast<float>(-id), id + 1};
    }
  }
  void guess(std::span<DraftEntry>) override {}
  void keep_last(std::span<const DraftEntry>) override {}
  void copy_block(const kv::BlockCopy& copy) override {
    calls_.push_back(fmt::format("copy {} {}", copy.from.value, copy.to.value));
  }
  void swap_block(const kv::BlockSwap& swap, bool out) override {
    calls_.push_back(fmt::format("{} {} {}", out ? "out" : "in", swap.block.value, swap.place));
  }
  KvRange kv_range() const override { return {0, 2, 0, 1}; }
  uint64_t model_identity() const override { return 7; }
  uint64_t range_bytes(uint32_t, const KvRange&) const override { return 1; }
  void export_blocks(uint32_t, const KvRange&, std::span<const BlockId>,
                     std::span<std::byte>) const override {}
  void import_blocks(uint32_t, const KvRange&, std::span<const BlockId>,
                     std::span<const std::byte>) override {}
  Result<uint64_t> load_adapter(uint32_t, const std::string&) override { return uint64_t{0}; }
  void drop_adapter(uint32_t) override {}
  std::shared_ptr<const Adapter> adapter(uint32_t) const override { return nullptr; }

 private:
  std::vector<std::string>& calls_;
  std::vector<int32_t> ids_;
};

class Books : public ::testing::Test {
 protected:
  static ReplicaShape shape() {
    ReplicaShape shape;
    shape.sequences_max = 3;
    shape.model_len_max = 64;
    shape.step_tokens_max = 16;
    shape.block_tokens = 16;
    shape.groups = {{.blocks = 8}, {kv::GroupKind::kState, 3, 0}};
    shape.swap_places = 2;
    shape.vocab_size = kVocabulary;
    shape.embedding_size = 4;
    return shape;
  }
  static StepPlan first(std::vector<int32_t> prompt, SamplingParams sampling = {.temperature = 0}) {
    StepPlan plan;
    auto request = std::make_shared<SequenceRequest>();
    request->prompt = std::move(prompt);
    request->sampling = std::move(sampling);
    plan.starts.push_back({0, request});
    plan.tables.push_back(
        {.slot = 0,
         .changes = {{.group = 0, .blocks = {BlockId{5}}}, {.group = 1, .blocks = {BlockId{2}}}}});
    plan.entries.push_back({.slot = 0, .tokens = request->prompt.tokens(), .samples = true});
    return plan;
  }
  void refused(const StepPlan& plan, const char* words) {
    const auto result = rank.run(plan);
    ASSERT_FALSE(result.ok()) << words;
    EXPECT_THAT(result.error().message(), HasSubstr(words));
  }

  device::CpuDevice device{DeviceId{0}, testing_support::cpu(uint64_t{1} << 20)};
  std::vector<std::string> calls;
  RankSteps rank{shape(), Pooling::kLast, {}, std::make_unique<PretendedForward>(calls), device};
};

// Goal: a token that the plan does not know is the one that was sampled before; blocks are moved in
// the order that StepPlan promises, before anything is computed.
TEST_F(Books, StepsGoOnFromWhatWasSampled) {
  const auto one = rank.run(first({1, 2, 3}));
  ASSERT_TRUE(one.ok()) << one.error().message();
  EXPECT_EQ(one->sampled.at(0).token, 4);
  StepPlan plan;
  plan.swap_in.push_back({0, BlockId{4}, 1});
  plan.copies.push_back({0, BlockId{5}, BlockId{6}});
  plan.swap_out.push_back({1, BlockId{2}, 0});
  plan.entries.push_back({.slot = 0, .position = 3, .tokens = {kTokenPending}, .samples = true});
  plan.ends = {0};
  const auto two = rank.run(plan);
  ASSERT_TRUE(two.ok()) << two.error().message();
  EXPECT_EQ(two->sampled.at(0).token, 5);
  EXPECT_THAT(calls, ElementsAre("forward 0: 1 2 3", "best of 1", "out 2 0", "copy 5 6", "in 4 1",
                                 "forward 3: 4", "best of 1"));
  refused({.entries = {{.slot = 0, .position = 4, .tokens = {5}}}}, "slot 0 is free");
}

// Goal: a group that keeps a state has one entry in a slot's table, whatever the number of tokens.
TEST_F(Books, AStateIsOneEntry) {
  StepPlan without = first({1, 2, 3});
  without.tables[0].changes.pop_back();
  refused(without, "slot 0 has KV for 0 of 3 tokens");
  StepPlan two = first({1, 2, 3});
  two.tables[0].changes[1].blocks.push_back(BlockId{1});
  refused(two, "blocks 0 to 2 of a table of 0");
  StepPlan beyond = first({1, 2, 3});
  beyond.tables[0].changes[1].blocks[0] = BlockId{3};
  refused(beyond, "there is no KV block 3");
  EXPECT_TRUE(rank.run(first(std::vector<int32_t>(16, 7))).ok());
}

// Goal: rows beyond what the head takes at once are asked in turn, and each answer gets to its
// place: log-probabilities of the prompt and of the token, and right guesses.
TEST_F(Books, AnswersComeToTheirPlaces) {
  SamplingParams sampling{.temperature = 1};
  sampling.logprobs = 1;
  sampling.prompt_logprobs = 1;
  StepPlan plan = first({10, 11, 12, 13, 14}, sampling);
  plan.entries[0].prompt_logprobs = true;
  const auto one = rank.run(plan);
  ASSERT_TRUE(one.ok()) << one.error().message();
  EXPECT_THAT(calls,
              ElementsAre("forward 0: 10 11 12 13 14", "head of 2", "head of 2", "head of 1"));
  const SampledToken& sampled = one->sampled.at(0);
  ASSERT_EQ(sampled.prompt_logprobs.size(), 4u);
  for (int32_t i = 0; i < 4; ++i) {
    const TokenLogprobs& known = sampled.prompt_logprobs[static_cast<size_t>(i)];
    EXPECT_EQ(known.id, 11 + i);
    EXPECT_EQ(known.logprob, static_cast<float>(-11 - i));
    ASSERT_EQ(known.top.size(), 1u);
    EXPECT_EQ(known.top[0].second, static_cast<float>(-10 - i));
  }
  EXPECT_EQ(sampled.token, 15);
  EXPECT_EQ(sampled.logprobs.logprob, -14.0f);

  StepPlan guessed;  // 16 and 17 are right, 30 is not.
  guessed.entries.push_back(
      {.slot = 0, .position = 5, .tokens = {15, 16, 17, 30, 31}, .samples = true, .guesses = 4});
  const auto two = rank.run(guessed);
  ASSERT_TRUE(two.ok()) << two.error().message();
  EXPECT_EQ(two->sampled.at(0).token, 16);
  ASSERT_EQ(two->sampled.at(0).following.size(), 2u);
  EXPECT_EQ(two->sampled.at(0).following[0].token, 17);
  EXPECT_EQ(two->sampled.at(0).following[1].token, 18);
  EXPECT_EQ(two->sampled.at(0).following[1].logprobs.logprob, -17.0f);
}

// Goal: what is not finite is told of where it was, and nowhere else: behind a wrong guess it was
// computed in vain.
TEST_F(Books, WhatIsNotFiniteIsToldOf) {
  struct Row {
    std::vector<int32_t> tokens;
    uint32_t guesses;
    bool finite;
    std::vector<bool> following;
  };
  const Row rows[] = {{{31}, 0, true, {}},
                      {{kBroken}, 0, false, {}},
                      {{31, 32, kBroken}, 2, true, {true, false}},
                      {{32, kBroken, 34}, 2, true, {false, true}},
                      {{31, kBroken, 34}, 2, true, {}}};
  for (const bool plain : {true, false})
    for (const Row& row : rows) {
      StepPlan plan = first({1, 2}, {.temperature = plain ? 0.0f : 1.0f});
      ASSERT_TRUE(rank.run(plan).ok());
      StepPlan next;
      next.entries.push_back({.slot = 0,
                              .position = 2,
                              .tokens = row.tokens,
                              .samples = true,
                              .guesses = row.guesses});
      const auto result = rank.run(next);
      ASSERT_TRUE(result.ok()) << result.error().message();
      const SampledToken& sampled = result->sampled.at(0);
      EXPECT_EQ(sampled.finite, row.finite);
      ASSERT_EQ(sampled.following.size(), row.following.size());
      for (size_t i = 0; i < row.following.size(); ++i)
        EXPECT_EQ(sampled.following[i].finite, row.following[i]) << i;
    }
  SamplingParams reports{.temperature = 1};
  reports.prompt_logprobs = 1;
  StepPlan plan = first({3, kBroken, 5}, reports);
  plan.entries[0].prompt_logprobs = true;
  EXPECT_FALSE(rank.run(plan)->sampled.at(0).finite) << "a row of the prompt";
  for (const int32_t last : {kBroken, 7}) {
    StepPlan embed = first({3, last});
    auto request = std::make_shared<SequenceRequest>(*embed.starts[0].request);
    request->embeds = true;
    embed.starts[0].request = request;
    EXPECT_EQ(rank.run(embed)->sampled.at(0).finite, last == 7);
  }
}

}  // namespace
}  // namespace altlas::model
