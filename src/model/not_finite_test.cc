// Goal: what comes of an infinity or NaN in any of a model's tensors is told of as not finite: for
// tokens, log-probabilities and embeddings. Method: tiny random models with one value of each of a
// tensor's rows changed, tensor by tensor.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "model/rank.h"
#include "model/test_tiny_model.h"
#include "weights/gguf.h"

namespace altlas::model {
namespace {

// A copy of a file of F32 tensors, with `value` in the first column of a tensor.
std::string with_value(const std::string& path, const weights::GgufTensor& tensor, float value) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  const uint64_t rows = tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
  for (uint64_t row = 0; row < rows; ++row)
    std::memcpy(bytes.data() + tensor.offset + row * tensor.dims[0] * 4, &value, 4);
  std::string copy = ::testing::TempDir() + "altlas_not_finite_" + std::to_string(getpid());
  copy += ".gguf";
  std::ofstream(copy, std::ios::binary) << bytes;
  return copy;
}

struct Loaded {
  Loaded(const std::string& path, KvType kv)
      : device(DeviceId{0}, testing_support::cpu(uint64_t{64} << 20)) {
    auto loaded = load_rank(
        {{.model_path = path, .sequences_max = 4, .step_tokens_max = 64, .kv_dtype = kv}}, device);
    if (loaded.ok())
      rank = std::move(*loaded);
    else
      error = loaded.error().message();
  }
  // The prompt in a slot for each request.
  std::vector<SampledToken> run(const std::vector<SequenceRequest>& requests) {
    StepPlan plan;
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto slot = static_cast<int32_t>(i);
      const auto request = std::make_shared<SequenceRequest>(requests[i]);
      plan.starts.push_back({slot, request});
      SlotTables& tables = plan.tables.emplace_back(SlotTables{.slot = slot, .changes = {}});
      for (uint32_t g = 0; g < rank->shape().groups.size(); ++g)
        tables.changes.push_back({.group = g, .blocks = {BlockId{static_cast<uint32_t>(i)}}});
      StepEntry& entry = plan.entries.emplace_back();
      entry = {.slot = slot, .tokens = request->prompt.tokens(), .samples = true};
      entry.prompt_logprobs = request->sampling.prompt_logprobs >= 0;
    }
    const auto result = rank->run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    return result.ok() ? result->sampled : std::vector<SampledToken>();
  }
  device::CpuDevice device;
  std::unique_ptr<Rank> rank;
  std::string error;
};

// The ways to ask a decoder: greedily, by chance, with log-probabilities, for an embedding.
std::vector<SequenceRequest> questions(const std::vector<int32_t>& prompt) {
  std::vector<SequenceRequest> out(4);
  for (SequenceRequest& one : out) one.prompt = prompt;
  out[0].sampling.temperature = 0;
  out[1].sampling = {.temperature = 1, .top_p = 0.9f};
  out[2].sampling = {.temperature = 0.5f};
  out[2].sampling.logprobs = 2;
  out[2].sampling.prompt_logprobs = 1;
  out[3].embeds = true;
  return out;
}

void expect_seen(const std::string& name, bool generates, KvType kv) {
  const std::string path = testing_support::write_tiny_gguf(name);
  auto file = weights::GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message();
  std::vector<int32_t> prompt = testing_support::read_golden(name).tokens;
  if (prompt.size() > 11) prompt.resize(11);
  auto asked = questions(prompt);
  if (!generates) asked.erase(asked.begin(), asked.end() - 1);
  Loaded whole(path, kv);
  ASSERT_NE(whole.rank, nullptr) << whole.error;
  for (const SampledToken& one : whole.run(asked)) EXPECT_TRUE(one.finite) << name;
  for (const weights::GgufTensor& tensor : file->tensors())
    for (const float value : {NAN, INFINITY, -INFINITY}) {
      // The sigmoid of an infinity is finite.
      if (std::isinf(value) && tensor.name.ends_with("ffn_gate_inp_shexp.weight")) continue;
      SCOPED_TRACE(name + " " + std::string(tensor.name) + " " + std::to_string(value));
      Loaded loaded(with_value(path, tensor, value), kv);
      if (loaded.rank == nullptr) {  // Some tensors are looked at when the model is loaded.
        EXPECT_NE(loaded.error.find("finite"), std::string::npos) << loaded.error;
        continue;
      }
      const auto got = loaded.run(asked);
      ASSERT_EQ(got.size(), asked.size());
      for (size_t i = 0; i < got.size(); ++i) {
        // Nothing of the output matrix is in an embedding.
        if (asked[i].embeds && tensor.name == "output.weight") continue;
        EXPECT_FALSE(got[i].finite) << "question " << i;
        if (!asked[i].embeds) {
          EXPECT_GE(got[i].token, 0);
          EXPECT_LT(got[i].token, static_cast<int32_t>(loaded.rank->shape().vocab_size));
        }
      }
    }
}

TEST(NotFinite, IsSeenInDecoders) {
  for (const char* name : {"llama", "qwen2_tied", "qwen2_untied", "gemma2", "gemma3", "mixtral",
                           "qwen3", "qwen3_moe", "qwen2_moe"})
    if (testing_support::has_tiny_gguf(name))
      expect_seen(name, /*generates=*/true, KvType::kF16);  // As they are served.
  for (const KvType kv : {KvType::kF32, KvType::kBf16, KvType::kQ8_0})
    expect_seen("llama", /*generates=*/true, kv);
}

TEST(NotFinite, IsSeenInEncoders) {
  for (const char* name : {"bert_mean", "bert_cls"})
    expect_seen(name, /*generates=*/false, KvType::kF16);
}

}  // namespace
}  // namespace altlas::model
