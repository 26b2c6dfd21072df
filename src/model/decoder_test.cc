// Tests of the decoder against golden logits, and of the promise that its bits depend on the
// sequence alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "device/cpu/cpu_device.h"
#include "model/decoder.h"
#include "model/model_file.h"
#include "model/rank.h"
#include "model/shape.h"
#include "model/test_tiny_model.h"
#include "ops/simd.h"

namespace altlas::model {
namespace {

using testing_support::Golden;
using testing_support::read_golden;

// Returns the path of the model's file, which is written once.
const std::string& tiny(const std::string& name) {
  static std::map<std::string, std::string> paths;
  const auto [at, added] = paths.try_emplace(name);
  if (added)
    at->second = testing_support::has_tiny_gguf(name)
                     ? testing_support::write_tiny_gguf(name)
                     : testing_support::write_tiny_folder(name, DType::kF32);
  return at->second;
}

// A decoder with memory of its own.
struct Bench {
  explicit Bench(const std::string& path, uint32_t threads);
  // Returns the logits after every token of one sequence, [tokens, vocab], computed in steps of
  // `chunk` tokens.
  std::vector<float> logits(std::span<const int32_t> tokens, size_t chunk);

  static constexpr uint32_t kStepTokens = 64, kBlocks = 8;
  device::Team team;
  RankGroup group;
  RankPlan plan;
  std::vector<std::vector<float>> memory;  // Weights, workspace, then the KV of each group.
  DecoderWeights weights;
  std::unique_ptr<Decoder> decoder;

 private:
  // Returns memory that is aligned to 64 bytes.
  std::byte* take(uint64_t bytes) {
    std::vector<float>& floats = memory.emplace_back(bytes / 4 + 32);
    const auto address = reinterpret_cast<uintptr_t>(floats.data());
    return reinterpret_cast<std::byte*>((address + 63) / 64 * 64);
  }
};

Bench::Bench(const std::string& path, uint32_t threads)
    : team({.threads = threads, .pin = false}), group(std::span(&threads, 1)) {
  const LoadOptions options{{.step_tokens_max = kStepTokens, .kv_dtype = KvType::kF32}};
  const auto file = ModelFile::open(path);
  ALTLAS_CHECK(file.ok(), "the tiny model opens");
  auto planned = plan_rank(*file, options, uint64_t{64} << 20, threads);
  EXPECT_TRUE(planned.ok()) << planned.error().message();
  if (!planned.ok()) return;
  plan = std::move(*planned);
  const uint64_t weight_bytes = plan.shape.weight_bytes;
  const Workspace<uint64_t>& work = plan.activation_bytes;
  Arena arena(take(weight_bytes), weight_bytes);
  auto laid = lay_out_weights({file->tensors(), plan.config, plan.shard}, arena, &team, {});
  ALTLAS_CHECK(laid.ok(), "weights that the plan saw");
  weights = std::move(*laid);
  for (KvGroup& group : plan.groups) {
    group.blocks = kBlocks;
    group.data = take(kBlocks * group.block_bytes(plan.layout));
  }
  group.publish(0, {&weights, plan.shard.vocab});
  decoder = std::make_unique<Decoder>(
      DecoderPart{plan.config, plan.shard, weights, plan.layout, kStepTokens}, plan.groups,
      Workspace<Arena>{{take(work.own), work.own}, {take(work.shared), work.shared}},
      RankTeam{&team, &group, 0});
}

std::vector<float> Bench::logits(std::span<const int32_t> tokens, size_t chunk) {
  std::vector<uint32_t> table;
  for (uint32_t b = 0; b < kBlocks; ++b) table.push_back(kBlocks - 1 - b);
  const std::vector<std::vector<uint32_t>> tables(plan.groups.size(), table);
  const size_t vocab = plan.config.vocab_size;
  std::vector<float> out(tokens.size() * vocab);
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    const size_t count = std::min(chunk, tokens.size() - at);
    const BatchEntry entry{.tokens = tokens.subspan(at, count),
                           .position = static_cast<uint32_t>(at),
                           .tables = tables};
    decoder->forward({&entry, 1});
    std::vector<uint32_t> rows(count);
    for (uint32_t i = 0; i < count; ++i) rows[i] = i;
    decoder->head().run(
        rows,
        [&](uint32_t, size_t i, size_t first, const float* logits, size_t seen) {
          std::copy_n(logits, seen, &out[(at + i) * vocab + first]);
        },
        // Logits that are computed again are the same.
        [&](uint32_t thread, size_t i) {
          alignas(64) float again[ops::kSampleRun];
          for (size_t first = 0; first < vocab; first += ops::kAgainStep) {
            const size_t more =
                std::min(first % 64 == 0 ? ops::kSampleRun : ops::kAgainStep, vocab - first);
            decoder->head().logits_again(thread, i, first, more, again);
            EXPECT_EQ(std::memcmp(again, &out[(at + i) * vocab + first], more * sizeof(float)), 0);
          }
        });
  }
  return out;
}

struct Loaded {
  std::unique_ptr<device::CpuDevice> device;
  std::unique_ptr<Rank> rank;
};

Loaded load(const std::string& name, uint32_t threads, KvType kv_dtype,
            uint32_t block_tokens = 16) {
  const device::DeviceSpec spec = testing_support::cpu(uint64_t{64} << 20, threads);
  Loaded loaded{std::make_unique<device::CpuDevice>(DeviceId{0}, spec), nullptr};
  const LoadOptions options{{.model_path = tiny(name),
                             .sequences_max = 4,
                             .step_tokens_max = 64,
                             .block_tokens = block_tokens,
                             .kv_dtype = kv_dtype}};
  auto rank = load_rank(options, *loaded.device);
  EXPECT_TRUE(rank.ok()) << rank.error().message();
  if (rank.ok()) loaded.rank = std::move(*rank);
  return loaded;
}

// Returns the log-probabilities of a sequence's 20 most likely tokens at every position. The prompt
// `tokens` runs in chunks; if `neighbour` > 0, another sequence of that many tokens runs beside it.
std::vector<TokenLogprobs> run(Rank& rank, const std::vector<int32_t>& tokens, size_t chunk,
                               size_t neighbour, int32_t slot = 1) {
  auto request = std::make_shared<SequenceRequest>();
  request->prompt = tokens;
  request->sampling.logprobs = request->sampling.prompt_logprobs = 20;
  request->sampling.temperature = 0;
  auto other = std::make_shared<SequenceRequest>();
  other->prompt = std::vector<int32_t>(64, 3);
  const uint32_t block_tokens = rank.shape().block_tokens;
  const auto blocks = static_cast<uint32_t>((tokens.size() + block_tokens - 1) / block_tokens);
  std::vector<TokenLogprobs> out;
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    StepPlan plan;
    if (at == 0) {
      plan.starts.push_back({slot, request});
      if (neighbour > 0) plan.starts.push_back({0, other});
      for (uint32_t group = 0; group < rank.shape().groups.size(); ++group) {
        kv::TableChange mine{.group = group};
        for (uint32_t b = 0; b < blocks; ++b) mine.blocks.push_back(BlockId{2 * (blocks - b)});
        plan.tables.push_back({.slot = slot, .changes = {mine}});
        const kv::TableChange others{.group = group,
                                     .blocks = {BlockId{1}, BlockId{3}, BlockId{5}, BlockId{7}}};
        plan.tables.push_back({.slot = 0, .changes = {others}});
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

// Expects all logits after every position within 1e-4 of the golden ones (relative, or absolute for
// those below 1). The prompt is computed at once, in chunks and token by token, with float32 KV.
void expect_golden_logits(const std::string& path, const Golden& golden) {
  Bench bench(path, 2);
  ASSERT_NE(bench.decoder, nullptr);
  ASSERT_EQ(bench.plan.config.vocab_size, golden.vocab);
  for (const size_t chunk : {golden.tokens.size(), size_t{7}, size_t{1}}) {
    const std::vector<float> got = bench.logits(golden.tokens, chunk);
    ASSERT_EQ(got.size(), golden.logits.size());
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], golden.logits[i], 1e-4 * std::max(1.0f, std::fabs(golden.logits[i])))
          << "chunk " << chunk << ", position " << i / golden.vocab << ", token "
          << i % golden.vocab;
  }
}

// Goal: the decoder computes what transformers computes in float32. Method: a tiny random model of
// each architecture.
TEST_P(Architectures, GgufMatchesGoldenLogits) {
  // Some architectures have safetensors only.
  if (!testing_support::has_tiny_gguf(GetParam())) return;
  expect_golden_logits(testing_support::write_tiny_gguf(GetParam()), read_golden(GetParam()));
}

// Goal: the same holds for Hugging Face folders; the weights are the same numbers in every type.
TEST_P(Architectures, SafetensorsMatchGoldenLogits) {
  const Golden golden = read_golden(GetParam());
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    SCOPED_TRACE(dtype_info(type).name);
    expect_golden_logits(
        testing_support::write_tiny_folder(GetParam(), type, type == DType::kBF16 ? 3 : 1), golden);
  }
}

// Goal: the log-probabilities that a rank reports are those of the logits. Method: the 20 most
// likely tokens after every position.
TEST_P(Architectures, ReportsLogprobs) {
  const Golden golden = read_golden(GetParam());
  Loaded loaded = load(GetParam(), 2, KvType::kF32);
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
    if (t + 1 < got.size()) {
      EXPECT_EQ(got[t].id, golden.tokens[t + 1]);
    }
  }
}

uint64_t hash_of(const std::vector<TokenLogprobs>& all) {
  Hasher hasher;
  for (const TokenLogprobs& token : all) {
    hasher.add(token.id).add(std::bit_cast<uint32_t>(token.logprob));
    for (const auto& [id, logprob] : token.top)
      hasher.add(id).add(std::bit_cast<uint32_t>(logprob));
  }
  return hasher.value();
}

// Returns the hash_of() of each model's answers to its golden tokens. If it differs on one machine
// only, that machine rounds differently; if on all, a change moved the bits: check the change, then
// put the new hashes here.
uint64_t bits_of(const std::string& model) {
  static const std::map<std::string, uint64_t> bits = {
      {"qwen2_tied", 15157966657911931885u},   {"qwen2_untied", 3881062021606827511u},
      {"qwen2_window", 10602262256391332494u}, {"qwen3", 10427995567710079828u},
      {"llama", 19464111877740564u},           {"llama_linear", 1459547190996173058u},
      {"llama_yarn", 3822361403861525086u},    {"llama3", 847297321958573671u},
      {"mistral", 3374532756213842628u},       {"mistral_window", 15071038309237311285u},
      {"mixtral", 3905245074125713158u},       {"qwen2_moe", 1858877941050618055u},
      {"qwen3_moe", 11780587631958255132u},    {"gemma2", 12967461142407392699u},
      {"gemma3", 1883684303358250520u},        {"gemma3_scaled", 9523341771459754322u}};
  const auto found = bits.find(model);
  return found == bits.end() ? 0 : found->second;
}

// Goal: bits do not depend on chunking, neighbours, threads, block size, SIMD target or machine.
// Method: compare every way with one, and that one with a hash that x86-64 and arm64 share.
TEST_P(Architectures, SameBitsEveryWay) {
  const Golden golden = read_golden(GetParam());
  std::vector<TokenLogprobs> first;
  const ops::SimdTarget before = ops::simd_target();
  for (const ops::SimdTarget target : ops::simd_targets()) {
    if (!ops::simd_supported(target) || !ops::simd_keeps_bits(target)) continue;
    ASSERT_TRUE(ops::set_simd_target(target).ok());
    for (const uint32_t threads : {1u, 2u, 3u}) {
      const uint32_t block_tokens = threads == 2 ? 32 : 16;
      Loaded loaded = load(GetParam(), threads, KvType::kF16, block_tokens);
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
  ASSERT_TRUE(ops::set_simd_target(before).ok());
  EXPECT_EQ(hash_of(first), bits_of(GetParam())) << GetParam();
}

INSTANTIATE_TEST_SUITE_P(Tiny, Architectures,
                         ::testing::Values("qwen2_tied", "qwen2_untied", "qwen2_window", "qwen3",
                                           "llama", "llama_linear", "llama_yarn", "llama3",
                                           "mistral", "mistral_window", "mixtral", "qwen2_moe",
                                           "qwen3_moe", "gemma2", "gemma3", "gemma3_scaled"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace altlas::model
