// Tests of a rank with plans that are right, wrong or too large, and with the real model if it is
// there.
#include "model/rank.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>

#include "model/test_tiny_model.h"
#include "model/vocabulary.h"
#include "weights/gguf_model.h"

namespace altlas::model {
namespace {

const std::string& tiny() {
  static const std::string path = testing_support::write_tiny_gguf("qwen2_tied");
  return path;
}

using testing_support::cpu;

std::shared_ptr<const SequenceRequest> request(std::vector<int32_t> prompt,
                                               SamplingParams sampling = {.temperature = 0}) {
  return std::make_shared<SequenceRequest>(
      SequenceRequest{std::move(prompt), {}, std::move(sampling)});
}

StepPlan first_step(std::shared_ptr<const SequenceRequest> what, uint32_t blocks) {
  StepPlan plan;
  plan.starts.push_back({0, what});
  kv::TableChange table;
  for (uint32_t b = 0; b < blocks; ++b) table.blocks.push_back(BlockId{b});
  plan.tables.push_back({.slot = 0, .changes = {table}});
  plan.entries.push_back({.slot = 0, .tokens = what->prompt.tokens(), .samples = true});
  return plan;
}

// Generates tokens from `what`; the plan does not know the token that each decode step starts from.
std::vector<int32_t> generate(Rank& rank, std::shared_ptr<const SequenceRequest> what, size_t count,
                              uint32_t blocks) {
  std::vector<int32_t> out;
  StepPlan plan = first_step(what, blocks);
  for (size_t n = 0; n < count; ++n) {
    auto result = rank.run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    if (!result.ok()) return out;
    out.push_back(result->sampled.at(0).token);
    plan = StepPlan{};
    plan.entries.push_back({.slot = 0,
                            .position = static_cast<uint32_t>(what->prompt.size() + n),
                            .tokens = {kTokenPending},
                            .samples = true});
  }
  StepPlan last;
  last.ends = {0};
  EXPECT_TRUE(rank.run(last).ok());
  return out;
}

// Goal: sizes are exact, the ledger holds what was announced, and what does not fit is refused with
// numbers before it is loaded.
TEST(RankShape, SizesAndRefusals) {
  LoadOptions options{{.model_path = tiny(), .sequences_max = 2, .step_tokens_max = 32}};
  const auto shape = load_shape(options, uint64_t{16} << 20, 1);
  ASSERT_TRUE(shape.ok()) << shape.error().message();
  EXPECT_EQ(shape->vocab_size, 64u);
  EXPECT_EQ(shape->model_len_max, 512u);
  EXPECT_EQ(shape->block_bytes, 2u * 2 * 16 * 16 * 2);  // Layers, k and v, tokens, head_dim, bytes.
  EXPECT_EQ(shape->kv_bytes(), shape->block_bytes * shape->groups.at(0).blocks);
  EXPECT_GT(shape->parameters, 10000u);
  device::CpuDevice device(DeviceId{0}, cpu(uint64_t{16} << 20));
  {
    const auto rank = load_rank(options, device);
    ASSERT_TRUE(rank.ok()) << rank.error().message();
    const uint64_t sum = shape->weight_bytes + shape->activation_bytes + shape->kv_bytes();
    EXPECT_GE(device.memory_use().used, sum);
    EXPECT_LT(device.memory_use().used, sum + 4096);
  }
  EXPECT_EQ(device.memory_use().used, 0u);

  const auto small = load_shape(options, 200 << 10, 1);
  ASSERT_FALSE(small.ok());
  EXPECT_NE(small.error().message().find("does not fit: weights"), std::string::npos)
      << small.error().message();
  options.model_len_max = 513;
  EXPECT_FALSE(load_shape(options, uint64_t{16} << 20, 1).ok());
  options.model_len_max = 0;
  options.shard.tp_size = 3;  // The model has two heads.
  EXPECT_FALSE(load_shape(options, uint64_t{16} << 20, 1).ok());
  options.shard = {.pp_size = 3};  // It has two layers.
  EXPECT_FALSE(load_shape(options, uint64_t{16} << 20, 1).ok());
  options.shard = {};
  options.block_tokens = 8;
  EXPECT_FALSE(load_shape(options, uint64_t{16} << 20, 1).ok());
  options.model_path = "/nonexistent.gguf";
  EXPECT_EQ(load_shape(options, uint64_t{16} << 20, 1).error().code(), ErrorCode::kNotFound);
}

// A device of another kind whose memory is a wrapped device's.
class OtherDevice final : public device::Device {
 public:
  OtherDevice(device::DeviceKind kind, device::Device& memory) : kind_(kind), memory_(memory) {}
  DeviceId id() const override { return DeviceId{5}; }
  device::DeviceKind kind() const override { return kind_; }
  const std::string& name() const override { return memory_.name(); }
  device::MemoryUse memory_use() const override { return memory_.memory_use(); }
  Result<device::Buffer> allocate(std::string_view name, uint64_t bytes) override {
    ++allocations;
    return memory_.allocate(name, bytes);
  }
  Result<device::Buffer> adopt(std::string_view name, void* mapped, uint64_t bytes,
                               uint64_t booked) override {
    return memory_.adopt(name, mapped, bytes, booked);
  }
  device::Team& team() override { return memory_.team(); }
  int64_t busy_ns() const override { return memory_.busy_ns(); }

  int allocations = 0;

 private:
  const device::DeviceKind kind_;
  device::Device& memory_;
};

// Goal: a rank takes any device that computes as the host does, through its interface, and refuses
// kinds without code for them before it allocates.
TEST(RankShape, TakesADeviceByItsInterface) {
  device::CpuDevice memory(DeviceId{0}, cpu(uint64_t{16} << 20));
  const LoadOptions options{{.model_path = tiny(), .sequences_max = 2, .step_tokens_max = 32}};
  OtherDevice host(device::DeviceKind::kCpu, memory);
  {
    auto rank = load_rank(options, host);
    ASSERT_TRUE(rank.ok()) << rank.error().message();
    EXPECT_EQ(generate(**rank, request({5, 9, 2, 7}), 3, 1).size(), 3u);
    EXPECT_EQ(host.allocations, 3);  // Weights, activations, KV.
  }
  OtherDevice cuda(device::DeviceKind::kCuda, memory);
  const auto refused = load_rank(options, cuda);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message().find("cuda"), std::string::npos);
  EXPECT_EQ(cuda.allocations, 0);
}

// Goal: a capped KV shortens the longest sequence instead of refusing.
TEST(RankShape, LengthIsCapped) {
  LoadOptions options{
      {.model_path = tiny(), .sequences_max = 2, .step_tokens_max = 32, .kv_tokens_max = 100}};
  const auto shape = load_shape(options, uint64_t{16} << 20, 1);
  ASSERT_TRUE(shape.ok());
  EXPECT_EQ(shape->model_len_max, 112u);
}

class TinyRank : public ::testing::Test {
 protected:
  void SetUp() override {
    LoadOptions options{{.model_path = tiny(), .sequences_max = 2, .step_tokens_max = 32}};
    options.end_of_generation = {0};
    auto loaded = load_rank(options, device_);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    rank_ = std::move(*loaded);
  }
  device::CpuDevice device_{DeviceId{0}, cpu(uint64_t{16} << 20)};
  std::unique_ptr<Rank> rank_;
};

// Goal: a wrong plan is refused, and never leads to memory of others. Method: one fault at a time.
TEST_F(TinyRank, RefusesWrongPlans) {
  const auto what = request({1, 2, 3});
  const auto expect_refused = [&](const char* name, auto&& damage) {
    StepPlan plan = first_step(what, 1);
    damage(plan);
    const auto result = rank_->run(plan);
    EXPECT_FALSE(result.ok()) << name;
  };
  expect_refused("slot", [](StepPlan& p) { p.entries[0].slot = 2; });
  expect_refused("negative slot", [](StepPlan& p) { p.starts[0].slot = -1; });
  expect_refused("no request", [](StepPlan& p) { p.starts[0].request = nullptr; });
  expect_refused("token", [](StepPlan& p) { p.entries[0].tokens[1] = 64; });
  expect_refused("negative token", [](StepPlan& p) { p.entries[0].tokens[1] = kTokenPending; });
  expect_refused("nothing sampled", [](StepPlan& p) { p.entries[0].tokens = {kTokenPending}; });
  expect_refused("no tokens", [](StepPlan& p) { p.entries[0].tokens.clear(); });
  expect_refused("no KV", [](StepPlan& p) { p.entries[0].position = 14; });
  expect_refused("past the end", [](StepPlan& p) { p.entries[0].position = 4000000000u; });
  const auto table = [](StepPlan& p) -> kv::TableChange& { return p.tables[0].changes[0]; };
  expect_refused("block", [&](StepPlan& p) { table(p).blocks[0] = BlockId{1 << 30}; });
  expect_refused("gap in the table", [&](StepPlan& p) { table(p).first_index = 1; });
  expect_refused("group", [&](StepPlan& p) { table(p).group = 1; });
  expect_refused("long table", [&](StepPlan& p) { table(p).blocks.assign(1000, BlockId{0}); });
  expect_refused("copy",
                 [](StepPlan& p) { p.copies.push_back({0, BlockId{0}, BlockId{1 << 30}}); });
  expect_refused("step budget", [](StepPlan& p) { p.entries[0].tokens.assign(33, 1); });
  expect_refused("end", [](StepPlan& p) { p.ends = {7}; });
  EXPECT_TRUE(rank_->run(first_step(what, 1)).ok());
}

// Goal: the same request gives the same tokens again, with pending tokens and penalties, and if it
// resumes after some of them.
TEST_F(TinyRank, RepeatsAndResumes) {
  SamplingParams sampling{.temperature = 1.2f,
                          .top_p = 0.95f,
                          .repetition_penalty = 1.3f,
                          .frequency_penalty = 0.2f,
                          .seed = 9};
  const auto what = request({5, 9, 2, 7}, sampling);
  const auto whole = generate(*rank_, what, 12, 2);
  EXPECT_EQ(generate(*rank_, what, 12, 2), whole);
  auto resumed = std::make_shared<SequenceRequest>(*what);
  resumed->generated.assign(whole.begin(), whole.begin() + 5);
  StepPlan plan = first_step(resumed, 2);
  plan.entries[0].tokens.insert(plan.entries[0].tokens.end(), resumed->generated.begin(),
                                resumed->generated.end());
  const auto next = rank_->run(plan);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->sampled[0].token, whole[5]);
}

// Goal: a copied block serves as well as its original. Method: decode once with each.
TEST_F(TinyRank, CopiesBlocks) {
  const auto what = request({5, 9, 2, 7});
  const auto want = generate(*rank_, what, 3, 1);
  ASSERT_TRUE(rank_->run(first_step(what, 1)).ok());
  StepPlan plan;
  plan.copies.push_back({0, BlockId{0}, BlockId{9}});
  plan.tables.push_back({.slot = 0, .changes = {{.blocks = {BlockId{9}}}}});
  plan.entries.push_back({.slot = 0, .position = 4, .tokens = {want[0]}, .samples = true});
  const auto result = rank_->run(plan);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->sampled[0].token, want[1]);
}

// Goal: min_tokens forbids the end of generation, but not for longer. Method: token 0 ends the text
// and is biased to always win.
TEST_F(TinyRank, MinTokens) {
  SamplingParams sampling{.temperature = 0, .min_tokens = 3, .logit_bias = {{0, 1000.0f}}};
  const auto tokens = generate(*rank_, request({5, 9}, sampling), 5, 1);
  for (size_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(tokens[i] == 0, i >= 3) << i;
}

// ---- The real model ----

std::string real_model() {
  if (const char* path = std::getenv("ALTLAS_TEST_MODEL")) return path;
  return "";
}

// Goal: the real model continues code sensibly. Method: greedy tokens after "def fibonacci(n):",
// spelled by the vocabulary.
TEST(RealModel, GreedyFibonacci) {
  if (real_model().empty())
    GTEST_SKIP() << "set ALTLAS_TEST_MODEL to qwen2.5-coder-0.5b-instruct's GGUF file";
  device::CpuDevice device(DeviceId{0}, cpu(uint64_t{2} << 30, 2));
  auto rank =
      load_rank({{.model_path = real_model(), .model_len_max = 1024, .sequences_max = 2}}, device);
  ASSERT_TRUE(rank.ok()) << rank.error().message();
  const auto file = weights::GgufModel::open(real_model());
  ASSERT_TRUE(file.ok());
  const auto vocabulary = read_vocabulary(file->head());
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.error().message();
  EXPECT_FALSE(read_chat_template(file->head())->empty());
  const std::vector<int32_t> prompt = {750, 75698, 1445, 1648};  // "def fibonacci(n):"
  std::string text;
  for (const int32_t id : generate(**rank, request(prompt), 32, 4))
    text += vocabulary->tokens[static_cast<size_t>(id)];
  EXPECT_NE(text.find("return"), std::string::npos) << text;
  EXPECT_NE(text.find("if"), std::string::npos) << text;
  RecordProperty("text", text);
}

}  // namespace
}  // namespace altlas::model
