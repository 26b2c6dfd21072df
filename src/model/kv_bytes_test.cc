// Tests of KV blocks that leave one rank as bytes and enter another.
#include "model/kv_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "model/rank.h"
#include "model/test_tiny_model.h"

namespace altlas::model {
namespace {

using ::testing::HasSubstr;

LoadOptions options_of(const std::string& path, KvType type = KvType::kF16,
                       uint32_t block_tokens = 16) {
  LoadOptions options;
  options.model_path = path;
  options.kv_dtype = type;
  options.block_tokens = block_tokens;
  return options;
}

struct Loaded {
  explicit Loaded(LoadOptions options, uint32_t threads = 1)
      : device(DeviceId{0}, testing_support::cpu(uint64_t{32} << 20, threads)) {
    options.sequences_max = 2;
    options.step_tokens_max = 64;
    options.kv_tokens_max = 512;
    auto loaded = load_rank(options, device);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message();
    if (loaded.ok()) rank = std::move(*loaded);
  }
  device::CpuDevice device;
  std::unique_ptr<Rank> rank;
};

const std::vector<int32_t> kPrompt = {5, 9, 2, 7, 30, 11, 3, 8, 1, 22, 4,  6,  13, 17, 19, 20, 21,
                                      2, 3, 1, 8, 9,  4,  7, 6, 5, 33, 40, 12, 15, 16, 18, 10};
constexpr uint32_t kBlocks = 4;  // Blocks of 16 tokens; they leave room for further tokens.

std::vector<BlockId> blocks_from(uint32_t first, uint32_t count = kBlocks) {
  std::vector<BlockId> out;
  for (uint32_t b = 0; b < count; ++b) out.push_back(BlockId{first - b});
  return out;
}

StepPlan start(const Rank& rank, std::shared_ptr<const SequenceRequest> request,
               const std::vector<BlockId>& blocks) {
  StepPlan plan;
  plan.starts.push_back({0, std::move(request)});
  SlotTables& tables = plan.tables.emplace_back(SlotTables{.slot = 0});
  for (uint32_t g = 0; g < rank.shape().groups.size(); ++g)
    tables.changes.push_back({.group = g, .blocks = blocks});
  return plan;
}

struct Said {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
};

// Decodes one token per step, from where `plan` ends.
Said go_on(Rank& rank, StepPlan plan, uint32_t position, size_t count) {
  Said said;
  for (size_t n = 0; n < count; ++n) {
    const auto result = rank.run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    if (!result.ok()) return said;
    const SampledToken& sampled = result->sampled.at(0);
    said.tokens.push_back(sampled.token);
    said.logprobs.push_back(sampled.logprobs.logprob);
    plan = StepPlan{};
    plan.entries.push_back({.slot = 0,
                            .position = position + static_cast<uint32_t>(n),
                            .tokens = {kTokenPending},
                            .samples = true});
  }
  return said;
}

std::shared_ptr<SequenceRequest> request(uint32_t adapter = 0) {
  auto out = std::make_shared<SequenceRequest>();
  out->prompt = kPrompt;
  out->sampling = {.temperature = 1.1f, .seed = 8, .logprobs = 3};
  out->adapter = adapter;
  return out;
}

Said undisturbed(Rank& rank, uint32_t adapter, size_t count) {
  StepPlan plan = start(rank, request(adapter), blocks_from(kBlocks - 1));
  plan.entries.push_back({.slot = 0, .tokens = kPrompt, .samples = true});
  return go_on(rank, plan, static_cast<uint32_t>(kPrompt.size()), count);
}

// Prefills all but the prompt's last token in one rank, hands the blocks over in pieces (by layer
// and by head), and goes on in the other rank.
Said handed_over(Rank& from, Rank& to, uint32_t adapter, size_t count) {
  const std::vector<BlockId> sent = blocks_from(kBlocks - 1), received = blocks_from(20);
  StepPlan prefill = start(from, request(adapter), sent);
  const std::vector<int32_t> most(kPrompt.begin(), kPrompt.end() - 1);
  prefill.entries.push_back({.slot = 0, .tokens = most});
  EXPECT_TRUE(from.run(prefill).ok());
  const KvRange all = from.kv_range();
  for (uint32_t g = 0; g < from.shape().groups.size(); ++g)
    for (uint32_t layer = all.layer_begin; layer < all.layer_end; ++layer)
      for (uint32_t head = all.head_begin; head < all.head_end; ++head) {
        const auto bytes = from.export_kv(adapter, g, {layer, layer + 1, head, head + 1}, sent);
        EXPECT_TRUE(bytes.ok()) << bytes.error().message();
        const auto done = to.import_kv(adapter, *bytes, received);
        EXPECT_TRUE(done.ok()) << done.error().message();
      }
  StepPlan plan = start(to, request(adapter), received);
  plan.entries.push_back({.slot = 0,
                          .position = static_cast<uint32_t>(most.size()),
                          .tokens = {kPrompt.back()},
                          .samples = true});
  return go_on(to, plan, static_cast<uint32_t>(kPrompt.size()), count);
}

// Goal: a sequence goes on in another rank and other blocks, with the bits of an undisturbed run.
// Method: full and window attention, all KV types, another number of threads there; earlier content
// of the blocks is overwritten.
TEST(KvBytes, ContinuationHasTheSameBits) {
  for (const char* model : {"qwen2_tied", "gemma3"})
    for (const KvType type : {KvType::kF16, KvType::kF32, KvType::kQ8_0}) {
      SCOPED_TRACE(::testing::Message() << model << " " << to_string(type));
      const LoadOptions options = options_of(testing_support::write_tiny_gguf(model), type);
      Loaded a(options), b(options, 2);
      ASSERT_TRUE(a.rank && b.rank);
      const Said want = undisturbed(*a.rank, 0, 12);
      const Said got = handed_over(*a.rank, *b.rank, 0, 12);
      EXPECT_EQ(got.tokens, want.tokens);
      EXPECT_EQ(got.logprobs, want.logprobs);
    }
}

// A rank with the blocks of one prefill, and the bytes that it exported.
struct Sender : Loaded {
  explicit Sender(LoadOptions options) : Loaded(std::move(options)) {
    undisturbed(*rank, 0, 1);
    auto exported = rank->export_kv(0, 0, rank->kv_range(), blocks_from(kBlocks - 1));
    EXPECT_TRUE(exported.ok()) << exported.error().message();
    if (exported.ok()) bytes = *std::move(exported);
  }
  KvBytes bytes;
};

// Goal: bytes that would mean something else here are refused, and the error says what differs;
// nothing is written then.
TEST(KvBytes, RefusesWhatMeansSomethingElse) {
  const std::string path = testing_support::write_tiny_gguf("qwen2_tied");
  Sender sender(options_of(path));
  Loaded other_model(options_of(testing_support::write_tiny_gguf("llama"))),
      other_type(options_of(path, KvType::kBf16)), other_blocks(options_of(path, KvType::kF16, 32)),
      same(options_of(path));
  const auto blocks = blocks_from(10);
  const auto refused = [&](Rank& rank, const KvBytes& bytes, const char* words,
                           std::span<const BlockId> to) {
    const auto result = rank.import_kv(0, bytes, to);
    ASSERT_FALSE(result.ok()) << words;
    EXPECT_THAT(result.error().message(), HasSubstr(words));
  };
  refused(*other_model.rank, sender.bytes, "they are of model ", blocks);
  refused(*other_type.rank, sender.bytes, "of type F16, this KV cache 16 of BF16", blocks);
  refused(*other_blocks.rank, sender.bytes, "they hold 16 tokens of type F16, this KV cache 32",
          blocks);
  KvBytes wrong = sender.bytes;
  wrong.stamp.adapter = 0x1234;
  refused(*same.rank, wrong, "with adapter 0000000000001234, not with no adapter", blocks);
  wrong = sender.bytes;
  wrong.stamp.range.layer_end += 1;
  refused(*same.rank, wrong, "which this rank holds", blocks);
  wrong = sender.bytes;
  wrong.stamp.range.head_begin = wrong.stamp.range.head_end;
  refused(*same.rank, wrong, "are not within", blocks);
  wrong = sender.bytes;
  wrong.bytes.pop_back();
  refused(*same.rank, wrong, "bytes are given for 4 of", blocks);
  refused(*same.rank, sender.bytes, "are given for 3 of", std::span(blocks).first(3));
  wrong = sender.bytes;
  wrong.group = 1;
  refused(*same.rank, wrong, "KV group 1; there are 1", blocks);
  const std::vector<BlockId> none(kBlocks, BlockId{1 << 20});
  refused(*same.rank, sender.bytes, "KV block 1048576", none);
  const auto before = same.rank->export_kv(0, 0, same.rank->kv_range(), blocks);
  ASSERT_TRUE(before.ok());
  EXPECT_TRUE(std::ranges::all_of(before->bytes, [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_TRUE(same.rank->import_kv(0, sender.bytes, blocks).ok());
  EXPECT_EQ(same.rank->export_kv(0, 0, same.rank->kv_range(), blocks)->bytes, sender.bytes.bytes);
  EXPECT_EQ(same.rank->export_kv(7, 0, same.rank->kv_range(), blocks).error().code(),
            ErrorCode::kNotFound);
}

}  // namespace
}  // namespace altlas::model
