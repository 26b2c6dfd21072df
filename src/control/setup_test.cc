// Tests of what configuration becomes for replicas, and of how their counts become metrics.
#include "control/setup.h"

#include <gtest/gtest.h>

#include "control/service_metrics.h"

namespace altlas::control {
namespace {

DeviceSetup device(int32_t id) {
  return {DeviceId{id}, "cpu", "cpu", uint64_t{4} << 30, "cpu:1:1:4GiB", 0};
}

// Goal: swap, speculation, draft models and adapters of `engine` and `models` reach the deployments
// whose model they are for, and no other.
TEST(Setup, ExtrasFollowTheirModel) {
  config::Config config;
  config.engine.swap_bytes = 1 << 20;
  config.engine.speculative_tokens = 5;
  config.engine.draft_model = "/small.gguf";
  config.engine.lora_modules = {{"tuned", "/tuned"}, {"other", "/engine"}};
  config.models.push_back({.name = "big",
                           .path = "/big.gguf",
                           .draft_model = "/draft.gguf",
                           .adapters = {{"poet", "/poet"}}});
  config.models.push_back({.name = "main",
                           .path = "/main.gguf",
                           .draft_model = "/none.gguf",
                           .adapters = {{"other", "/models"}}});
  config::DeploymentConfig first, second, third;
  first.name = "first";
  second.name = "second";
  second.model = "big";
  third.name = "third";
  third.model = "big";
  third.speculative_tokens = 2;
  third.swap_bytes = 0;
  third.kv_tokens_max = 640;
  third.draft_model = "/own.gguf";
  config.deployments = {first, second, third};
  const DeviceSetup devices[] = {device(0)};
  const auto setup =
      make_core_setup(config, devices, {.id = "main", .path = "/main.gguf", .deployment = "d"});
  ASSERT_TRUE(setup.ok()) << setup.error().message();
  const engine::LoadReplica& main = setup->deployments.at(0).load;
  EXPECT_EQ(main.model_path, "/main.gguf");
  EXPECT_EQ(main.swap_bytes, 1u << 20);
  EXPECT_EQ(main.speculative_tokens, 5u);
  EXPECT_EQ(main.draft_model_path, "/small.gguf") << "engine says it for the default model";
  ASSERT_EQ(main.adapters.size(), 2u);
  EXPECT_EQ(main.adapters[0].name, "other");
  EXPECT_EQ(main.adapters[0].path, "/engine");
  EXPECT_EQ(main.adapters[1].name, "tuned");
  const engine::LoadReplica& big = setup->deployments.at(1).load;
  EXPECT_EQ(big.model_path, "/big.gguf");
  EXPECT_EQ(big.speculative_tokens, 5u);
  EXPECT_EQ(big.draft_model_path, "/draft.gguf");
  ASSERT_EQ(big.adapters.size(), 1u);
  EXPECT_EQ(big.adapters[0].name, "poet");
  EXPECT_EQ(big.kv_tokens_max, 0u);
  const engine::LoadReplica& own = setup->deployments.at(2).load;
  EXPECT_EQ(own.speculative_tokens, 2u) << "a deployment's own rows count before those of engine";
  EXPECT_EQ(own.swap_bytes, 0u);
  EXPECT_EQ(own.kv_tokens_max, 640u);
  EXPECT_EQ(own.draft_model_path, "/own.gguf");
}

// Goal: what `engine` limits reaches every replica.
TEST(Setup, EngineLimitsReachReplicas) {
  config::EngineConfig engine;
  engine.kv_tokens_max = 4096;
  engine.kv_block_tokens = 32;
  engine.max_model_len = 512;
  engine.max_sequences = 7;
  engine.step_tokens_max = 128;
  engine.kv_dtype = KvType::kQ8_0;
  const engine::LoadReplica load = load_of(engine);
  EXPECT_EQ(load.kv_tokens_max, 4096u);
  EXPECT_EQ(load.block_tokens, 32u);
  EXPECT_EQ(load.model_len_max, 512u);
  EXPECT_EQ(load.sequences_max, 7u);
  EXPECT_EQ(load.step_tokens_max, 128u);
  EXPECT_EQ(load.kv_dtype, "q8_0");
}

// Goal: counters only grow, by what replicas counted, also when one starts anew from 0.
TEST(ServiceMetrics, ReplicasCountsGrow) {
  telemetry::Registry registry;
  ServiceMetrics metrics(&registry);
  DeploymentView deployment;
  deployment.name = "d";
  ReplicaView replica;
  replica.id = ReplicaId{1};
  replica.deployment = "d";
  const auto show = [&](uint64_t queried, uint64_t hit) {
    replica.prefix_query_tokens = queried;
    replica.prefix_hit_tokens = hit;
    replica.speculative_accepted = hit;
    deployment.replicas = {replica};
    metrics.picture({}, {&deployment, 1}, 0);
  };
  const auto value = [&](const telemetry::MetricDef& metric) {
    return registry.counter(metric, {"d", "0"})->value();
  };
  show(100, 10);
  show(150, 10);
  show(150, 40);
  EXPECT_EQ(value(kPrefixQueryTokens), 150);
  EXPECT_EQ(value(kPrefixHitTokens), 40);
  replica.id = ReplicaId{2};  // It was restarted.
  show(30, 5);
  EXPECT_EQ(value(kPrefixQueryTokens), 180);
  EXPECT_EQ(value(kPrefixHitTokens), 45);
  EXPECT_EQ(value(kAcceptedTokens), 45);
  EXPECT_EQ(value(kSwappedBlocks), 0);
}

}  // namespace
}  // namespace altlas::control
