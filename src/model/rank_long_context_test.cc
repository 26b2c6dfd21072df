// Goal: a long context gives the same bits on one thread, on three that share its attention and the
// rows of its weights, and on three that share the tokens of its prompt; the likeliest token is the
// same whether its logits are kept or not. Method: 440 tokens of prompt in small steps and in large
// ones, 8 decoded, in models with few KV heads, with and without windows, with experts, with more
// columns of q than of the residual stream.
#include <gtest/gtest.h>

#include <memory>

#include "model/decoder.h"
#include "model/rank.h"
#include "model/test_tiny_model.h"

namespace altlas::model {
namespace {

struct Said {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
};

constexpr uint32_t kSmallStep = 64, kLargeStep = 300;
static_assert(kSmallStep < 3 * kOwnTokens && kLargeStep > 3 * kOwnTokens);

// Returns nine greedy tokens, with their probabilities if `logprobs` is set.
Said say(const std::string& path, uint32_t threads, uint32_t step, bool logprobs) {
  constexpr uint32_t kPrompt = 440, kDecoded = 8;
  device::CpuDevice device(DeviceId{0}, testing_support::cpu(uint64_t{128} << 20, threads));
  auto rank = load_rank(
      {{.model_path = path, .sequences_max = 1, .step_tokens_max = step, .kv_tokens_max = 512}},
      device);
  EXPECT_TRUE(rank.ok()) << rank.error().message();
  if (!rank.ok()) return {};
  auto request = std::make_shared<SequenceRequest>();
  for (uint32_t i = 0; i < kPrompt; ++i)
    request->prompt.push_back(static_cast<int32_t>((i * 7 + i / 5) % 60));
  request->sampling.temperature = 0;
  request->sampling.logprobs = logprobs ? 1 : -1;
  StepPlan plan;
  plan.starts.push_back({0, request});
  for (uint32_t g = 0; g < (*rank)->shape().groups.size(); ++g) {
    kv::TableChange table{.group = g};
    for (uint32_t b = 0; b < 32; ++b) table.blocks.push_back(BlockId{31 - b});
    plan.tables.push_back({.slot = 0, .changes = {table}});
  }
  Said said;
  for (uint32_t at = 0; at < kPrompt + kDecoded;) {
    const bool decodes = at >= kPrompt;
    const uint32_t end = decodes ? at + 1 : std::min(kPrompt, at + step);
    StepEntry& entry = plan.entries.emplace_back();
    entry.position = at;
    if (decodes)
      entry.tokens = {kTokenPending};
    else
      entry.tokens.assign(request->prompt.begin() + at, request->prompt.begin() + end);
    entry.samples = end >= kPrompt;
    const auto result = (*rank)->run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    if (!result.ok()) return {};
    for (const SampledToken& token : result->sampled) {
      said.ids.push_back(token.token);
      said.logprobs.push_back(token.logprobs.logprob);
    }
    plan = {};
    at = end;
  }
  return said;
}

TEST(RankLongContext, SameBitsOnManyThreads) {
  for (const std::string name :
       {"qwen2_tied", "gemma3", "gemma2", "qwen2_moe", "qwen3", "mistral"}) {
    SCOPED_TRACE(name);
    const std::string path = testing_support::write_tiny_gguf(name);
    const Said one = say(path, 1, kSmallStep, true);
    ASSERT_EQ(one.ids.size(), 9u);
    for (const uint32_t step : {kSmallStep, kLargeStep}) {
      const Said three = say(path, 3, step, true);
      EXPECT_EQ(three.ids, one.ids) << step;
      EXPECT_EQ(three.logprobs, one.logprobs) << step;
      EXPECT_EQ(say(path, 3, step, false).ids, one.ids) << step;
    }
  }
}

}  // namespace
}  // namespace altlas::model
