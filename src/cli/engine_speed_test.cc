// Tests of the engine's bench: on a tiny random model every work is measured, and what it counts is
// what the shapes say.
#include "cli/engine_speed.h"

#include <gtest/gtest.h>

#include "engine/cpu_executor.h"
#include "model/random_model.h"

namespace altlas::cli {
namespace {

TEST(EngineSpeed, MeasuresEveryWork) {
  auto random = model::RandomModel::make("llama-tiny", DType::kQ4_K, uint64_t{1} << 30, 2, {});
  ASSERT_TRUE(random.ok()) << random.error().message();
  EngineBenchOptions options{
      .prefill = 40, .batches = {1, 3}, .context = 100, .tokens = 5, .rounds = 2};
  options.samplings.push_back(*parse_bench_sampling("temperature=1"));
  EXPECT_EQ(options.sequences_max(), 4u);
  EXPECT_EQ(options.length_max(), 105u);
  EXPECT_EQ(options.kv_tokens(), 112u);
  model::OpTimes times;
  engine::CpuRankOptions rank;
  rank.device = {.kind = device::DeviceKind::kCpu,
                 .name = "cpu",
                 .memory_bytes = uint64_t{256} << 20,
                 .threads = 2};
  rank.load.model_path = random->path();
  rank.load.model_len_max = options.length_max();
  rank.load.sequences_max = options.sequences_max();
  rank.load.step_tokens_max = 32;
  rank.load.kv_tokens_max = options.kv_tokens();
  rank.load.times = &times;
  auto executor = engine::CpuExecutor::open({rank}, 1, {});
  ASSERT_TRUE(executor.ok()) << executor.error().message();
  RoofMeter meter(1, 0, uint64_t{1} << 20);
  double last = -1;
  const auto figures =
      bench_engine(**executor, times, meter, options, [&](std::string_view, double part) {
        EXPECT_GE(part, last);
        last = part;
      });
  ASSERT_TRUE(figures.ok()) << figures.error().message();
  EXPECT_EQ(last, 1);
  ASSERT_EQ(figures->works.size(), 6u);
  EXPECT_EQ(figures->works[0].name, "prefill 40");
  EXPECT_EQ(figures->works[1].name, "decode 1 greedy");
  EXPECT_EQ(figures->works[4].name, "decode 3 temperature=1");
  EXPECT_EQ(figures->works[5].name, "decode 1 at 100");
  EXPECT_GT(figures->roofs.read_bytes_per_s, 1e8);
  EXPECT_GT(figures->roofs.int8_macs_per_s, 1e8);
  for (const EngineWork& work : figures->works) {
    EXPECT_EQ(work.seconds.size(), 2u);
    EXPECT_GT(work.best_tokens_per_s(), 0);
    EXPECT_GE(work.best_tokens_per_s(), work.median_tokens_per_s());
    EXPECT_GT(share_of_roof(work, figures->round_roofs).share, 0);
  }
  // Products per token: q, k, v, output, gate, up and down of two layers, and the head.
  const double layer = 256 * (256 + 128 + 128) + 256 * 256 + 3 * 256 * 512, head = 1024 * 256;
  EXPECT_EQ(figures->works[1].products(), 5 * (2 * layer + head));
  EXPECT_EQ(figures->works[4].products(), 3 * 5 * (2 * layer + head));
  EXPECT_EQ(figures->works[0].products(), 40 * 2 * layer + head);
  // Attention over the prompt, in each of two layers: each token sees itself and those before it,
  // and takes two products that are 256 wide.
  const auto attention = static_cast<size_t>(model::Op::kAttention);
  EXPECT_EQ(figures->works[0].times.ops[attention].float_products,
            2u /*rounds*/ * 2 * (40 * 41 / 2) * 2 * 256);
  EXPECT_EQ(model::keys_seen(3, 4, 0), 4u + 5 + 6 + 7);
  EXPECT_EQ(model::keys_seen(3, 4, 5), 4u + 5 + 5 + 5);
  EXPECT_EQ(model::keys_seen(9, 4, 5), 4u * 5);
}

// Goal: each round is compared with its own roof, so that a round that other processes slowed down
// does not count as worse.
TEST(EngineSpeed, ShareOfTheRoundsRoofs) {
  EngineWork work{.tokens = 10, .kv_bytes = 1000, .seconds = {2, 4, 2, 8}};
  const Roofs fast{.read_bytes_per_s = 1000, .int8_macs_per_s = 1},
      slow{.read_bytes_per_s = 500, .int8_macs_per_s = 1};
  const std::vector<Roofs> roofs = {fast, slow, fast, fast};
  const RoofShare share = share_of_roof(work, roofs);
  EXPECT_EQ(share.bound, "read");
  EXPECT_DOUBLE_EQ(share.share, 0.5);
  EXPECT_DOUBLE_EQ(work.median_tokens_per_s(), 10.0 / 3);
  EXPECT_EQ(share_of_roof(work, std::vector<Roofs>(4)).share, 0);
}

TEST(EngineSpeed, SamplingsByTheirFields) {
  EXPECT_EQ(parse_bench_sampling("greedy")->params.temperature, 0);
  const auto some = parse_bench_sampling("temperature=0.8,top_p=0.95,top_k=40,logprobs=5");
  ASSERT_TRUE(some.ok()) << some.error().message();
  EXPECT_EQ(some->params.temperature, 0.8f);
  EXPECT_EQ(some->params.top_p, 0.95f);
  EXPECT_EQ(some->params.top_k, 40);
  EXPECT_EQ(some->params.logprobs, 5);
  for (const char* wrong : {"", "hot", "temperature", "temperature=", "temperature=nan",
                            "temperature=1,", "top_p=2", "logprobs=21", "top_k=1.5", "=1"})
    EXPECT_FALSE(parse_bench_sampling(wrong).ok()) << wrong;
}

TEST(EngineSpeed, RandomModelsByName) {
  const auto unknown = model::RandomModel::make("gpt-5", DType::kQ4_K, uint64_t{1} << 40, 1, {});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code(), ErrorCode::kInvalid);
  EXPECT_NE(unknown.error().message().find("llama-8b"), std::string::npos);
  const auto large = model::RandomModel::make("llama-70b", DType::kQ4_K, uint64_t{1} << 30, 1, {});
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().code(), ErrorCode::kBusy);
  EXPECT_NE(large.error().message().find("1.00 GiB are free"), std::string::npos)
      << large.error().message();
  // The device needs room for the file twice; one byte less is too little.
  const auto tiny = model::RandomModel::make("llama-tiny", DType::kQ4_K, uint64_t{1} << 30, 1, {});
  ASSERT_TRUE(tiny.ok());
  const uint64_t need = 2 * tiny->bytes();
  EXPECT_TRUE(model::RandomModel::make("llama-tiny", DType::kQ4_K, need, 1, {}).ok());
  EXPECT_FALSE(model::RandomModel::make("llama-tiny", DType::kQ4_K, need - 1, 1, {}).ok());
  EXPECT_TRUE(model::parse_weight_type("Q4_K").ok());
  EXPECT_FALSE(model::parse_weight_type("q4_k_m").ok());
  // A mixture of experts has its experts' tensors.
  const auto experts =
      model::RandomModel::make("qwen3moe-tiny", DType::kQ4_K, uint64_t{1} << 30, 1, {});
  ASSERT_TRUE(experts.ok());
  EXPECT_TRUE(model::load_shape({{.model_path = experts->path()}}, uint64_t{1} << 30, 1).ok());
  // Every type loads, also where its blocks do not fit the columns.
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ2_K, DType::kQ3_K,
                           DType::kQ5_K, DType::kQ6_K, DType::kQ8_0, DType::kQ4_0}) {
    const auto made = model::RandomModel::make("llama-tiny", type, uint64_t{1} << 30, 1, {});
    ASSERT_TRUE(made.ok());
    const auto shape = model::load_shape({{.model_path = made->path()}}, uint64_t{1} << 30, 1);
    EXPECT_TRUE(shape.ok()) << shape.error().message();
  }
}

}  // namespace
}  // namespace altlas::cli
