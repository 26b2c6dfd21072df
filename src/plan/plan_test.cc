// Tests of the predictor and the planner: rooflines computed by hand, properties that every layout
// keeps, the rules, and hostile rows of CSV.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "plan/csv.h"
#include "plan/planner.h"
#include "plan/rows.h"
#include "plan/training.h"

namespace altlas::plan {
namespace {

StepModel model_of(std::string_view name, std::string_view kind, int32_t tensor = 1,
                   int32_t pipeline = 1) {
  StepModel model{.shape = *model_shape(name),
                  .device = *device_model(kind),
                  .layout = {},
                  .weights = *weight_format("bf16")};
  model.layout.tensor_parallel_size = tensor;
  model.layout.pipeline_parallel_size = pipeline;
  return model;
}

PlanRequest request_of(std::string_view name, std::string_view kind, int32_t devices) {
  return {.shape = *model_shape(name),
          .weights = *weight_format("bf16"),
          .device = *device_model(kind),
          .devices = devices,
          .engine = *engine_model("vllm"),
          .load = {.concurrency = 16, .input_tokens = 1024, .output_tokens = 256}};
}

TEST(ModelShapes, HaveTheParametersOfTheirNames) {
  const std::pair<const char*, double> kPublished[] = {
      {"llama-3-8b", 8.03e9},   {"llama-3-70b", 70.6e9},   {"llama-3.1-405b", 405.9e9},
      {"qwen3-32b", 32.8e9},    {"qwen2.5-7b", 7.62e9},    {"mixtral-8x7b", 46.7e9},
      {"mixtral-8x22b", 141e9}, {"qwen3-30b-a3b", 30.5e9}, {"deepseek-v3", 671e9},
      {"mistral-7b", 7.25e9},   {"llama-2-70b", 69.0e9},   {"qwen3-235b-a22b", 235e9}};
  for (const auto& [name, parameters] : kPublished)
    EXPECT_NEAR(model_shape(name)->parameters() / parameters, 1, 0.01) << name;
}

TEST(ModelShapes, AreFoundByTheNamesPeopleWrite) {
  for (const char* name : {"meta-llama/Llama-3.1-70B", "meta-llama/Meta-Llama-3-8B-Instruct",
                           "nvidia/Llama-3.1-8B-Instruct-FP8", "Qwen/Qwen3-32B", "llama3.1-8b",
                           "mistralai/Mixtral-8x7B-Instruct-v0.1"})
    EXPECT_TRUE(model_shape(name).ok()) << name;
  EXPECT_NE(model_shape("lama-3-70b").error().message().find("did you mean llama-3-70b"),
            std::string::npos);
}

// One token of llama-3-8b in BF16 on an H100 reads 7.5 billion weights (no embedding): 15.0 GB at
// 3.35 TB/s take 4.5 ms. A step takes at least that and, with launches, at most twice.
TEST(StepTime, DecodeOfOneSequenceIsNearTheRoofOfMemory) {
  const double seconds =
      step_seconds(model_of("llama-3-8b", "h100"),
                   {.decode_sequences = 1, .decode_context = 1000, .sampled = 1});
  EXPECT_GT(seconds, 0.0045);
  EXPECT_LT(seconds, 0.009);
}

// 4096 tokens of llama-3-8b take 2 * 7.0e9 * 4096 = 57 TFLOP and 2.2 for attention: 60 ms at 989
// TFLOP/s.
TEST(StepTime, PrefillIsNearTheRoofOfCompute) {
  const double seconds =
      step_seconds(model_of("llama-3-8b", "h100"), {.prefill_sequences = 1,
                                                    .prefill_tokens = 4096,
                                                    .prefill_pairs = 4096.0 * 4097 / 2,
                                                    .sampled = 1});
  EXPECT_GT(seconds, 0.060);
  EXPECT_LT(seconds, 0.110);
}

TEST(StepTime, MoreRanksAreFasterAndNeverLinear) {
  const StepLoad load{.decode_sequences = 16, .decode_context = 16000, .sampled = 16};
  double last = step_seconds(model_of("llama-3-70b", "h100", 1), load);
  for (const int32_t tensor : {2, 4, 8}) {
    const double now = step_seconds(model_of("llama-3-70b", "h100", tensor), load);
    EXPECT_LT(now, last);
    EXPECT_GT(now, last / 2);
    last = now;
  }
}

TEST(StepTime, FewTokensReadFewExperts) {
  const auto decode = [](double sequences) {
    return step_seconds(
        model_of("mixtral-8x7b", "h200"),
        {.decode_sequences = sequences, .decode_context = sequences * 100, .sampled = sequences});
  };
  // One token reads 2 of the 8 experts, 64 tokens read all of them.
  EXPECT_GT(decode(64), 2 * decode(1));
  EXPECT_LT(decode(64), 4 * decode(1));
}

TEST(MemoryPlan, TensorRanksDivideWeightsAndKv) {
  const EngineModel engine = *engine_model("vllm");
  const MemoryPlan one = memory_plan(model_of("llama-3-70b", "h200", 1), engine);
  const MemoryPlan two = memory_plan(model_of("llama-3-70b", "h200", 2), engine);
  EXPECT_DOUBLE_EQ(two.weights, one.weights / 2);
  EXPECT_DOUBLE_EQ(two.kv_per_token, one.kv_per_token / 2);
  EXPECT_NEAR(one.weights, 141.1e9, 0.2e9);
  EXPECT_DOUBLE_EQ(one.kv_per_token, 2.0 * 80 * 8 * 128 * 2);
  // With more ranks than KV heads, several ranks hold the same head.
  EXPECT_DOUBLE_EQ(model_shape("llama-3-70b")->kv_values_per_token(16),
                   model_shape("llama-3-70b")->kv_values_per_token(8));
}

TEST(Serving, WaitsWhereMemoryHoldsFewSequences) {
  const StepModel model = model_of("llama-3-70b", "h100");
  const auto full = predict_serving(model, *engine_model("trtllm"), {4, 1024, 256});
  ASSERT_FALSE(full.ok());  // The weights take 141 GB.
  const StepModel larger = model_of("llama-3-70b", "h200", 2);
  const auto few = predict_serving(larger, *engine_model("vllm"), {16, 4000, 1000});
  const auto many = predict_serving(larger, *engine_model("vllm"), {256, 4000, 1000});
  ASSERT_TRUE(few.ok() && many.ok());
  EXPECT_GT(many->ttft_ms, 10 * few->ttft_ms);
  EXPECT_GT(many->output_tokens_per_s, few->output_tokens_per_s);
}

TEST(Serving, LittlesLawHolds) {
  for (const EngineModel& named : engine_models()) {
    const EngineModel engine = *engine_model(named.name);
    const auto f = predict_serving(model_of("llama-3-8b", "h100"), engine, {32, 700, 130});
    ASSERT_TRUE(f.ok());
    const double request_s = (f->ttft_ms + f->tpot_ms * 129) / 1e3;
    EXPECT_NEAR(f->output_tokens_per_s * request_s, 32 * 130, 1e-6 * 32 * 130);
  }
}

TEST(Serving, MoreClientsAreNeverFasterForEach) {
  double ttft = 0, tpot = 0;
  for (const int32_t clients : {1, 4, 16, 64, 256}) {
    const auto f = predict_serving(model_of("llama-3-8b", "h100"), *engine_model("vllm"),
                                   {clients, 1000, 200});
    ASSERT_TRUE(f.ok());
    EXPECT_GE(f->tpot_ms, tpot);
    EXPECT_GE(f->ttft_ms, ttft * 0.9);
    ttft = f->ttft_ms;
    tpot = f->tpot_ms;
  }
}

TEST(Planner, NamesTheRuleThatDecided) {
  const auto decided = [](std::string_view name, std::string_view kind, int32_t devices) {
    const auto plan = make_plan(request_of(name, kind, devices));
    return plan.ok() ? plan->decided : plan.error().message();
  };
  EXPECT_EQ(decided("llama-3-70b", "a100-80gb", 8), "needs 2–4 → TP 4, two replicas");
  EXPECT_EQ(decided("llama-3-8b", "a100-80gb", 8), "fits one device → DP, eight replicas");
  EXPECT_EQ(decided("llama-3.1-405b", "h100", 16),
            "needs more than 4 → TP 8 inside a node × PP 2 across, one replica");
  EXPECT_EQ(decided("mixtral-8x22b", "h100", 8),
            "mixture of experts → EP 8 (TP 8 × PP 1), one replica");
  EXPECT_EQ(decided("qwen2.5-32b", "a100-40gb", 6), "needs 2–4 → TP 4, one replica");
}

TEST(Planner, PricesTheSeedsLayoutToo) {
  const auto plan = make_plan(request_of("llama-3-70b", "a100-80gb", 8));
  ASSERT_TRUE(plan.ok());
  bool seen = false;
  for (const Alternative& a : plan->alternatives) {
    EXPECT_LE(a.devices(), 8);
    EXPECT_DOUBLE_EQ(a.usd_per_hour, 4.0 * a.devices());
    EXPECT_LT(a.spot_usd_per_hour, a.usd_per_hour);
    seen = seen || (layout_name(a.layout) == "TP4 x PP2" && a.figures && a.usd_per_million > 0);
  }
  EXPECT_TRUE(seen);
  EXPECT_EQ(layout_name(plan->alternatives[plan->chosen].layout), "TP4");
}

TEST(Planner, RefusesLayoutsThatCannotBe) {
  struct Case {
    int32_t tensor, pipeline, expert;
    const char* says;
  };
  const Case kCases[] = {{3, 0, 0, "3 tensor ranks do not divide 64 heads"},
                         {128, 0, 0, "128 tensor ranks are more than the model's 64 heads"},
                         {0, 81, 0, "81 pipeline stages are more than the model's 80 layers"},
                         {8, 2, 0, "needs 16 devices and there are 8"},
                         {4, 0, 4, "without experts"},
                         {1, 0, 0, "does not fit"}};
  for (const Case& c : kCases) {
    PlanRequest request = request_of("llama-3-70b", "a100-80gb", 8);
    request.tensor = c.tensor;
    request.pipeline = c.pipeline;
    request.expert = c.expert;
    const auto plan = make_plan(request);
    ASSERT_FALSE(plan.ok()) << c.says;
    EXPECT_NE(plan.error().message().find(c.says), std::string::npos) << plan.error().message();
  }
  EXPECT_FALSE(make_plan(request_of("llama-3.1-405b", "l4", 8)).ok());
}

Result<std::string> rows(std::string_view csv) {
  std::string out;
  ALTLAS_TRY_VOID(predict_rows(csv, {}, [&](std::string_view row) { out += row; }));
  return out;
}
constexpr std::string_view kHeader = "id,model,gpu,engine,dtype,tp,pp,dp,concurrency,isl,osl\n";

TEST(Rows, HostileTextsGetALineNumber) {
  const std::pair<std::string, const char*> kCases[] = {
      {"", "line 1: the file is empty"},
      {"model,gpu\nx,y\n", "line 1: the header has no column engine, dtype"},
      {std::string("model,") + std::string(kHeader), "line 1: the column model is there twice"},
      {std::string(kHeader) + "a,llama-3-8b,h100,vllm,bf16,1,1,1,NaN,100,100\n",
       "line 2: concurrency 'NaN'"},
      {std::string(kHeader) + "a,llama-3-8b,h100,vllm,bf16,1,1,1,1,1e300,100\n", "line 2: isl"},
      {std::string(kHeader) + "a,llama-3-8b,h100,vllm,bf16,1,1,1,1,100,-5\n", "line 2: osl"},
      {std::string(kHeader) + "a,llama-3-8b,h100,vllm,bf16,99999999999999999999,1,1,1,1,1\n",
       "line 2: tp"},
      {std::string(kHeader) + "\n\na,b,c\n", "line 4: 3 fields where the header has 11"},
      {std::string(kHeader) + "\"a,b\nc", "line 2: a quote is not closed"},
      {std::string(kHeader) + "\"a\"b,c\n", "line 2: text follows a closing quote"},
      {std::string(kHeader) + std::string("a\0b,", 4), "line 2: a NUL byte"},
      {std::string(kHeader) + "\"two\nlines\",llama-3-8b,h100,vllm,bf16,1,1,1,1,1,1\nx\n",
       "line 4: 1 fields"},
  };
  for (const auto& [text, says] : kCases) {
    const auto done = rows(text);
    ASSERT_FALSE(done.ok()) << says;
    EXPECT_NE(done.error().message().find(says), std::string::npos) << done.error().message();
  }
}

TEST(Rows, StayAsTheyAreWhateverTheirQuotesAndLineEnds) {
  const std::string text =
      "\xEF\xBB\xBFid,\"model\",gpu,engine,dtype,tp,pp,dp,concurrency,isl,osl\r\n"
      "\"a \"\"b\"\", c\",llama-3-8b,H100_SXM,vllm,bf16?,1,,0,4,500,50\r\n"
      "x,llama-3-8b,h900,vllm,bf16,1,1,1,4,500,50";
  const auto done = rows(text);
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(done->find('\r'), std::string::npos);
  EXPECT_NE(done->find("\"a \"\"b\"\", c\",llama-3-8b,H100_SXM,vllm,bf16?,1,,0,4,500,50,"),
            std::string::npos);
  EXPECT_NE(done->find(",,,,\"'h900' is not a device kind"), std::string::npos);
}

TEST(Csv, FieldsAreQuotedWhereTheyMustBe) {
  EXPECT_EQ(csv_field("plain"), "plain");
  EXPECT_EQ(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
}

// Computed by hand from the paper's terms: 2 tokens x 3 sequences, one layer of 8, 2 heads.
TEST(Training, BytesAreTheSumOfTheirTerms) {
  const TrainingShape shape{.layers = 1, .hidden = 8, .heads = 2, .ffn = 32, .parameters = 1000};
  const TrainingLoad load{.sequence_tokens = 2, .micro_batch = 3, .devices = 4};
  const DeviceKindInfo kind = *device_kind("a100-80gb");
  const TrainingCost plain = training_cost(shape, load, {}, kind);
  EXPECT_EQ(plain.weights, 4000);
  EXPECT_EQ(plain.gradients, 4000);
  EXPECT_EQ(plain.optimizer, 8000);
  EXPECT_EQ(plain.host, 0);
  const double tokens = 6;
  const double values = tokens * 8 * 5 + tokens * 2 * 2 + tokens * (8 + 2 * 32) + tokens * 8 * 2;
  EXPECT_EQ(plain.activations, 4 * values);
  const TrainingCost bf16 = training_cost(shape, load, {.bf16 = true}, kind);
  EXPECT_EQ(bf16.weights + bf16.gradients + bf16.optimizer, 16 * 1000);
  EXPECT_EQ(bf16.activations, 2 * values);
  const TrainingCost zero = training_cost(shape, load, {.bf16 = true, .zero3 = true}, kind);
  EXPECT_EQ(zero.gradients + zero.optimizer, 14 * 1000 / 4.0);
  EXPECT_EQ(zero.weights, 2 * 1000 / 4.0 + 2 * 2 * 1000);
  const TrainingCost host = training_cost(shape, load, {.bf16 = true, .offload = true}, kind);
  EXPECT_EQ(host.host, 14 * 1000);
  EXPECT_EQ(host.optimizer, 0);
}

// Every technique saves what it is for, and only flash attention and BF16 make a step faster.
TEST(Training, TechniquesTradeMemoryForTime) {
  const DeviceKindInfo kind = *device_kind("h100");
  const TrainingShape shape = seed_training_shape();
  EXPECT_NEAR(shape.parameters, 6.44e9, 0.01e9);
  for (const TrainingRow& row : training_rows()) {
    const TrainingCost with = training_cost(shape, {}, row.techniques, kind);
    const TrainingCost without = training_cost(shape, {}, row.beside, kind);
    EXPECT_LT(with.device_bytes(), without.device_bytes()) << row.name;
    if (row.techniques.flash || !row.beside.bf16)
      EXPECT_LT(with.step_s, without.step_s) << row.name;
    else
      EXPECT_GE(with.step_s, without.step_s) << row.name;
  }
  // More segments keep less, until their inputs are what is kept.
  double last = 1e18;
  for (const int32_t segments : {1, 2, 4, 8}) {
    const double bytes = training_cost(shape, {.checkpoint_segments = segments},
                                       {.bf16 = true, .checkpoint = true}, kind)
                             .activations;
    EXPECT_LT(bytes, last) << segments;
    last = bytes;
  }
}

}  // namespace
}  // namespace altlas::plan
