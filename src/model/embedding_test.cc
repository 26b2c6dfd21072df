// Goal: embeddings equal those of transformers, whatever the steps; plans that can't give one are
// refused. Method: tiny random models against golden vectors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "model/rank.h"
#include "model/test_tiny_model.h"

namespace altlas::model {
namespace {

using ::testing::HasSubstr;
using testing_support::Golden;

struct Loaded {
  explicit Loaded(const std::string& path, KvType kv_dtype = KvType::kF32, uint32_t threads = 2)
      : device(DeviceId{0}, testing_support::cpu(uint64_t{64} << 20, threads)) {
    auto loaded = load_rank(
        {{.model_path = path, .sequences_max = 4, .step_tokens_max = 48, .kv_dtype = kv_dtype}},
        device);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message();
    if (loaded.ok()) rank = std::move(*loaded);
  }
  device::CpuDevice device;
  std::unique_ptr<Rank> rank;
};

std::shared_ptr<SequenceRequest> embeds(const std::vector<int32_t>& prompt) {
  auto request = std::make_shared<SequenceRequest>();
  request->prompt = prompt;
  request->embeds = true;
  return request;
}

StepPlan start(Rank& rank, int32_t slot, std::shared_ptr<const SequenceRequest> request) {
  StepPlan plan;
  plan.starts.push_back({slot, std::move(request)});
  SlotTables& tables = plan.tables.emplace_back(SlotTables{.slot = slot});
  const uint32_t first = static_cast<uint32_t>(2 * slot);
  for (uint32_t g = 0; g < rank.shape().groups.size(); ++g)
    tables.changes.push_back({.group = g, .blocks = {BlockId{first + 1}, BlockId{first}}});
  return plan;
}

StepEntry chunk(const std::vector<int32_t>& tokens, int32_t slot, size_t from, size_t count) {
  return {.slot = slot,
          .position = static_cast<uint32_t>(from),
          .tokens = {tokens.begin() + static_cast<long>(from),
                     tokens.begin() + static_cast<long>(from + count)},
          .samples = from + count == tokens.size()};
}

// Returns the embedding of `tokens`, computed in steps of `size` tokens.
std::vector<float> embed(Rank& rank, const std::vector<int32_t>& tokens, size_t size) {
  StepPlan plan = start(rank, 1, embeds(tokens));
  for (size_t at = 0; at < tokens.size(); at += size) {
    plan.entries.push_back(chunk(tokens, 1, at, std::min(size, tokens.size() - at)));
    auto result = rank.run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    if (!result.ok()) return {};
    if (at + size >= tokens.size()) {
      EXPECT_EQ(result->sampled.at(0).token, -1);
      return result->sampled.at(0).embedding;
    }
    EXPECT_TRUE(result->sampled.empty());
    plan = StepPlan{};
  }
  return {};
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  EXPECT_NEAR(aa, 1, 1e-5);
  return ab / std::sqrt(aa * bb);
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4) << i;
  EXPECT_GE(cosine(got, want), 0.999999);
}

TEST(Embedding, EncodersMatchTransformers) {
  for (const std::string name : {"bert_mean", "bert_cls"}) {
    const Golden golden = testing_support::read_golden(name);
    for (const std::string& path : {testing_support::write_tiny_gguf(name),
                                    testing_support::write_tiny_folder(name, DType::kF32),
                                    testing_support::write_tiny_folder(name, DType::kBF16, 2)}) {
      SCOPED_TRACE(path);
      Loaded loaded(path);
      ASSERT_NE(loaded.rank, nullptr);
      EXPECT_FALSE(loaded.rank->shape().generates);
      EXPECT_EQ(loaded.rank->shape().embedding_size, 32u);
      // The encoder's longest text fits in one step.
      EXPECT_EQ(loaded.rank->shape().step_tokens_max, 64u);
      expect_close(embed(*loaded.rank, golden.tokens, golden.tokens.size()), golden.embedding);
    }
    // Models are served with 16-bit keys and values.
    Loaded loaded(testing_support::write_tiny_gguf(name), KvType::kF16);
    ASSERT_NE(loaded.rank, nullptr);
    EXPECT_GE(cosine(embed(*loaded.rank, golden.tokens, golden.tokens.size()), golden.embedding),
              0.9999);
  }
}

// Goal: texts in one batch do not see each other, and threads do not change bits.
TEST(Embedding, EncoderBatchesGiveTheSameBits) {
  const Golden golden = testing_support::read_golden("bert_mean");
  const std::string path = testing_support::write_tiny_gguf("bert_mean");
  Loaded alone(path, KvType::kF32, 1), together(path, KvType::kF32, 3);
  ASSERT_NE(alone.rank, nullptr);
  ASSERT_NE(together.rank, nullptr);
  const auto want = embed(*alone.rank, golden.tokens, golden.tokens.size());
  const std::vector<int32_t> other(17, 3);
  StepPlan plan = start(*together.rank, 0, embeds(other));
  StepPlan second = start(*together.rank, 1, embeds(golden.tokens));
  plan.starts.push_back(second.starts[0]);
  plan.tables.push_back(second.tables[0]);
  plan.entries = {chunk(other, 0, 0, other.size()),
                  chunk(golden.tokens, 1, 0, golden.tokens.size())};
  const auto result = together.rank->run(plan);
  ASSERT_TRUE(result.ok()) << result.error().message();
  ASSERT_EQ(result->sampled.size(), 2u);
  EXPECT_EQ(result->sampled[1].embedding, want);
}

TEST(Embedding, DecodersPoolTheLastTokenOrTheMean) {
  for (const std::string name : {"qwen3", "gemma3", "llama"}) {
    SCOPED_TRACE(name);
    const Golden golden = testing_support::read_golden(name);
    Loaded last(testing_support::write_tiny_gguf(name));
    ASSERT_NE(last.rank, nullptr);
    EXPECT_TRUE(last.rank->shape().generates);
    const auto whole = embed(*last.rank, golden.tokens, golden.tokens.size());
    expect_close(whole, golden.embedding);
    EXPECT_EQ(embed(*last.rank, golden.tokens, 7), whole);

    const std::string folder = testing_support::write_tiny_folder(name, DType::kF16);
    std::filesystem::create_directories(folder + "/1_Pooling");
    std::ofstream(folder + "/1_Pooling/config.json") << R"({"pooling_mode_mean_tokens": true})";
    Loaded mean(folder);
    ASSERT_NE(mean.rank, nullptr);
    const auto mean_whole = embed(*mean.rank, golden.tokens, golden.tokens.size());
    expect_close(mean_whole, golden.mean_embedding);
    for (const size_t size : {size_t{1}, size_t{5}})
      EXPECT_EQ(embed(*mean.rank, golden.tokens, size), mean_whole);
  }
}

TEST(Embedding, WrongPlansAreRefused) {
  const Golden golden = testing_support::read_golden("bert_mean");
  Loaded encoder(testing_support::write_tiny_gguf("bert_mean"));
  ASSERT_NE(encoder.rank, nullptr);
  StepPlan part = start(*encoder.rank, 1, embeds(golden.tokens));
  part.entries = {chunk(golden.tokens, 1, 0, 5)};
  EXPECT_THAT(encoder.rank->run(part).error().message(), HasSubstr("embeds 24 tokens"));
  auto generates = embeds(golden.tokens);
  generates->embeds = false;
  StepPlan tokens = start(*encoder.rank, 1, generates);
  tokens.entries = {chunk(golden.tokens, 1, 0, golden.tokens.size())};
  EXPECT_THAT(encoder.rank->run(tokens).error().message(), HasSubstr("only embeds"));

  Loaded decoder(testing_support::write_tiny_gguf("qwen3"));
  ASSERT_NE(decoder.rank, nullptr);
  StepPlan gap = start(*decoder.rank, 1, embeds(golden.tokens));
  gap.entries = {chunk(golden.tokens, 1, 4, 5)};  // The first four tokens were never added.
  EXPECT_FALSE(decoder.rank->run(gap).ok());
}

}  // namespace
}  // namespace altlas::model
