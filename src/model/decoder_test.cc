// Tests of the decoder against golden logits, and of the promise that its bits depend on nothing
// but the sequence.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "device/cpu/cpu_device.h"
#include "model/rank.h"
#include "ops/simd.h"
#include "testing/data.h"

namespace altlas::model {
namespace {

std::string fixture(const std::string& name) {
  return std::string(ALTLAS_SOURCE_DIR) + "/src/model/testdata/" + name;
}

struct Golden {
  std::vector<int32_t> tokens;
  size_t vocab = 0;
  std::vector<float> logits;  // [tokens, vocab]
};

Golden read_golden(const std::string& name) {
  std::ifstream file(fixture(name + ".golden"), std::ios::binary);
  int32_t shape[2] = {};
  file.read(reinterpret_cast<char*>(shape), sizeof(shape));
  Golden golden{.tokens = std::vector<int32_t>(static_cast<size_t>(shape[0])),
                .vocab = static_cast<size_t>(shape[1])};
  golden.logits.resize(golden.tokens.size() * golden.vocab);
  file.read(reinterpret_cast<char*>(golden.tokens.data()),
            static_cast<long>(golden.tokens.size() * 4));
  file.read(reinterpret_cast<char*>(golden.logits.data()),
            static_cast<long>(golden.logits.size() * 4));
  EXPECT_TRUE(file.good()) << name;
  return golden;
}

struct Loaded {
  std::unique_ptr<device::CpuDevice> device;
  std::unique_ptr<Rank> rank;
};

Loaded load(const std::string& name, uint32_t threads, const std::string& kv_dtype,
            uint32_t block_tokens = 16) {
  const device::DeviceSpec spec{.kind = device::DeviceKind::kCpu,
                                .name = "cpu",
                                .memory_bytes = uint64_t{64} << 20,
                                .threads = threads};
  Loaded loaded{std::make_unique<device::CpuDevice>(DeviceId{0}, spec), nullptr};
  const LoadOptions options{.path = fixture(name + ".gguf"),
                            .sequences_max = 4,
                            .step_tokens_max = 64,
                            .block_tokens = block_tokens,
                            .kv_dtype = kv_dtype};
  auto rank = load_rank(options, *loaded.device);
  EXPECT_TRUE(rank.ok()) << rank.error().message();
  if (rank.ok()) loaded.rank = std::move(*rank);
  return loaded;
}

// All log-probabilities of one sequence: TokenLogprobs.top names at most 20 tokens, so the logits
// are asked for by rows of the top list. tokens: the prompt, run in chunks; `neighbour` > 0 puts
// another sequence with that many tokens beside it.
std::vector<TokenLogprobs> run(Rank& rank, const std::vector<int32_t>& tokens, size_t chunk,
                               size_t neighbour, int32_t slot = 1) {
  auto request = std::make_shared<SequenceRequest>();
  request->prompt = tokens;
  request->sampling.logprobs = 20;
  request->sampling.temperature = 0;
  auto other = std::make_shared<SequenceRequest>();
  other->prompt.assign(64, 3);
  const uint32_t block_tokens = rank.shape().block_tokens;
  const auto blocks = static_cast<uint32_t>((tokens.size() + block_tokens - 1) / block_tokens);
  std::vector<TokenLogprobs> out;
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    StepPlan plan;
    if (at == 0) {
      plan.starts.push_back({slot, request});
      if (neighbour > 0) plan.starts.push_back({0, other});
      for (int32_t group = 0; group < static_cast<int32_t>(rank.shape().group_blocks.size());
           ++group) {
        SlotBlocks mine{.slot = slot, .group = group};
        for (uint32_t b = 0; b < blocks; ++b) mine.blocks.push_back(BlockId{2 * (blocks - b)});
        plan.blocks.push_back(mine);
        plan.blocks.push_back({.slot = 0,
                               .group = group,
                               .blocks = {BlockId{1}, BlockId{3}, BlockId{5}, BlockId{7}}});
      }
    }
    if (neighbour > 0 && at / chunk * neighbour + neighbour <= 64)
      plan.entries.push_back({.slot = 0,
                              .position = static_cast<uint32_t>(at / chunk * neighbour),
                              .tokens = std::vector<int32_t>(neighbour, 3),
                              .samples = true});
    const size_t count = std::min(chunk, tokens.size() - at);
    StepEntry entry{.slot = slot,
                    .position = static_cast<uint32_t>(at),
                    .samples = at + count == tokens.size(),
                    .prompt_logprobs = true};
    entry.tokens.assign(tokens.begin() + static_cast<long>(at),
                        tokens.begin() + static_cast<long>(at + count));
    plan.entries.push_back(entry);
    auto result = rank.run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    if (!result.ok()) return out;
    const SampledToken& mine = result->sampled.back();
    EXPECT_EQ(mine.slot, slot);
    out.insert(out.end(), mine.prompt_logprobs.begin(), mine.prompt_logprobs.end());
    if (mine.token >= 0) out.push_back(mine.logprobs);
  }
  StepPlan last;
  last.ends = {slot, 0};
  EXPECT_TRUE(rank.run(last).ok());
  return out;
}

class Architectures : public ::testing::TestWithParam<const char*> {};

// Goal: the decoder computes what transformers computes in float32. Method: log-probabilities of
// the 20 most likely tokens after every position of a tiny random model, against the golden logits,
// with float32 KV.
TEST_P(Architectures, MatchesGoldenLogits) {
  const Golden golden = read_golden(GetParam());
  Loaded loaded = load(GetParam(), 2, "f32");
  ASSERT_NE(loaded.rank, nullptr);
  EXPECT_EQ(loaded.rank->shape().vocab_size, golden.vocab);
  const auto got = run(*loaded.rank, golden.tokens, 7, 0);
  ASSERT_EQ(got.size(), golden.tokens.size());
  for (size_t t = 0; t < got.size(); ++t) {
    const float* logits = &golden.logits[t * golden.vocab];
    double sum = 0, largest = *std::max_element(logits, logits + golden.vocab);
    for (size_t i = 0; i < golden.vocab; ++i) sum += std::exp(logits[i] - largest);
    ASSERT_EQ(got[t].top.size(), 20u);
    for (const auto& [id, logprob] : got[t].top) {
      const double want = logits[id] - largest - std::log(sum);
      EXPECT_NEAR(logprob, want, 1e-4 * std::max(1.0, std::fabs(static_cast<double>(logits[id]))))
          << "position " << t << ", token " << id;
    }
    EXPECT_EQ(got[t].top[0].first, std::max_element(logits, logits + golden.vocab) - logits);
    if (t + 1 < got.size()) EXPECT_EQ(got[t].id, golden.tokens[t + 1]);
  }
}

// Goal: bits do not depend on chunking, neighbours, threads, block size or SIMD target. Method:
// compare every way with one.
TEST_P(Architectures, SameBitsEveryWay) {
  const Golden golden = read_golden(GetParam());
  std::vector<TokenLogprobs> first;
  for (const ops::SimdTarget target :
       {ops::SimdTarget::kScalar, ops::SimdTarget::kAvx2, ops::SimdTarget::kAvx512Vnni}) {
    if (!ops::simd_supported(target)) continue;
    ASSERT_TRUE(ops::set_simd_target(target).ok());
    for (const uint32_t threads : {1u, 2u, 3u}) {
      const uint32_t block_tokens = threads == 2 ? 32 : 16;
      Loaded loaded = load(GetParam(), threads, "f16", block_tokens);
      ASSERT_NE(loaded.rank, nullptr);
      for (const size_t chunk : {size_t{1}, size_t{3}, size_t{7}, golden.tokens.size()}) {
        const size_t neighbour = chunk == 1 ? 0 : chunk == 7 ? 5 : 1;
        const auto got = run(*loaded.rank, golden.tokens, chunk, neighbour);
        if (first.empty()) first = got;
        ASSERT_EQ(got, first) << ops::to_string(target) << " threads " << threads << " chunk "
                              << chunk << " neighbour " << neighbour << " block " << block_tokens;
      }
    }
  }
  ASSERT_EQ(first.size(), golden.tokens.size());
  ASSERT_TRUE(ops::set_simd_target(
                  ops::simd_supported(ops::SimdTarget::kAvx512Vnni) ? ops::SimdTarget::kAvx512Vnni
                  : ops::simd_supported(ops::SimdTarget::kAvx2)     ? ops::SimdTarget::kAvx2
                                                                    : ops::SimdTarget::kScalar)
                  .ok());
}

INSTANTIATE_TEST_SUITE_P(Tiny, Architectures,
                         ::testing::Values("qwen2_tied", "qwen2_untied", "qwen3", "llama",
                                           "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace altlas::model
