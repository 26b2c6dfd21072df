// Tests of what the configuration becomes for replicas, and of how replicas' counts become metrics.
#include "control/setup.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

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

// Goal: the limits of `engine` reach every replica.
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
  EXPECT_EQ(load.kv_dtype, KvType::kQ8_0);
}

TEST(Setup, TheAgingRuleIsTheConfiguredOne) {
  const DeviceSetup devices[] = {device(0)};
  const ModelSetup model{.id = "main", .path = "/m.gguf", .deployment = "d"};
  EXPECT_EQ(make_core_setup(config::Config(), devices, model)->age_step_us, 30 * kSecond);
  for (const double seconds : {0.0, 0.25, 1.0, 3600.0}) {
    config::Config config;
    config.gpu.multi_gpu.priority_aging_s = seconds;
    EXPECT_EQ(make_core_setup(config, devices, model)->age_step_us,
              static_cast<int64_t>(seconds * static_cast<double>(kSecond)));
  }
}

struct SharingDeployment {
  std::optional<double> num_gpus;
  int64_t replicas = 1, ranks = 1;
};
struct SharingCase {
  const char* name;
  size_t devices;
  std::vector<SharingDeployment> deployments;
  std::vector<std::vector<std::vector<int>>> on;  // The devices, by deployment, replica and rank.
  std::vector<double> parts;                      // The part of a device that each deployment gets.
  std::vector<std::string> error;                 // What the error says.
};
constexpr auto kNone = std::nullopt;
const SharingCase kSharing[] = {
    {"two large parts", 2, {{0.75}, {0.75}}, {{{0}}, {{1}}}, {0.75, 0.75}, {}},
    {"two halves of one", 1, {{0.5}, {0.5}}, {{{0}}, {{0}}}, {0.5, 0.5}, {}},
    {"thirds", 1, {{1.0 / 3, 3}}, {{{0}, {0}, {0}}}, {1.0 / 3}, {}},
    {"a part and the rest", 1, {{0.25}, {kNone}}, {{{0}}, {{0}}}, {0.25, 0.75}, {}},
    {"nobody says how", 2, {{kNone}, {kNone}}, {{{0}}, {{1}}}, {1, 1}, {}},
    {"more than devices", 2, {{kNone}, {kNone}, {kNone}}, {{{0}}, {{1}}, {{0}}}, {0.5, 1, 0.5}, {}},
    {"replicas spread", 4, {{kNone, 2}, {kNone, 2}}, {{{0}, {1}}, {{2}, {3}}}, {1, 1}, {}},
    {"replicas of halves", 2, {{0.5, 4}}, {{{0}, {1}, {0}, {1}}}, {0.5}, {}},
    {"the whole comes first", 3, {{0.5}, {1}, {0.5}}, {{{1}}, {{0}}, {{2}}}, {0.5, 1, 0.5}, {}},
    {"together, that all fit", 2, {{0.5}, {0.5}, {1}}, {{{1}}, {{1}}, {{0}}}, {0.5, 0.5, 1}, {}},
    {"no order by size fits",
     2,
     {{0.45}, {0.2}, {0.3}, {0.4}, {0.35}, {0.3}},
     {{{0}}, {{0}}, {{1}}, {{1}}, {{0}}, {{1}}},
     {0.45, 0.2, 0.3, 0.4, 0.35, 0.3},
     {}},
    {"six parts of two",
     2,
     {{0.5}, {0.35, 2}, {0.25, 2}, {0.3}},
     {{{0}}, {{1}, {1}}, {{0}, {0}}, {{1}}},
     {0.5, 0.35, 0.25, 0.3},
     {}},
    {"and the same in another order",
     2,
     {{0.25, 2}, {0.3}, {0.5}, {0.35, 2}},
     {{{0}, {0}}, {{1}}, {{0}}, {{1}, {1}}},
     {0.25, 0.3, 0.5, 0.35},
     {}},
    {"a rest elsewhere", 2, {{0.9}, {kNone}, {kNone}}, {{{0}}, {{1}}, {{1}}}, {0.9, 0.5, 0.5}, {}},
    {"ranks", 4, {{kNone, 1, 2}, {kNone, 1, 2}}, {{{0, 1}}, {{2, 3}}}, {1, 1}, {}},
    {"ranks come first", 3, {{kNone}, {kNone, 1, 2}}, {{{2}}, {{0, 1}}}, {1, 1}, {}},
    {"ranks and a part", 4, {{2, 1, 2}, {0.5}}, {{{0, 1}}, {{2}}}, {1, 0.5}, {}},
    {"no replica", 1, {{1, 0}, {1}}, {{}, {{0}}}, {1, 1}, {}},
    {"too much of one", 1, {{0.75}, {0.75}}, {}, {}, {"'d1'", "0.75", "0 has 0.25", "1.5"}},
    {"too much of all", 2, {{0.6, 3}}, {}, {}, {"'d0'", "0.6", "1 has 0.4", "1.8", "2 devices"}},
    {"nothing is left", 1, {{1}, {kNone}}, {}, {}, {"'d1'", "device 0 has 0"}},
    {"too many ranks", 2, {{2, 1, 2}, {0.5}}, {}, {}, {"'d1'", "0.5", "2.5"}},
    {"another layout", 4, {{3, 1, 2}}, {}, {}, {"num_gpus 3", "2 devices"}},
};

// Goal: no device is promised twice and deployments are spread. Method: a table of deployments,
// with the devices and the part of them that each gets, or the numbers of the error.
TEST(Setup, DevicesAreShared) {
  for (const SharingCase& one : kSharing) {
    SCOPED_TRACE(one.name);
    config::Config config;
    config.engine.gpu_memory_utilization = 0.8;
    for (size_t i = 0; i < one.deployments.size(); ++i) {
      config::DeploymentConfig& made = config.deployments.emplace_back();
      made.name = "d" + std::to_string(i);
      made.model = "/m.gguf";
      made.num_gpus = one.deployments[i].num_gpus;
      made.num_replicas = one.deployments[i].replicas;
      made.tensor_parallel_size = one.deployments[i].ranks;
    }
    std::vector<DeviceSetup> devices;
    for (size_t i = 0; i < one.devices; ++i) devices.push_back(device(static_cast<int32_t>(i)));
    const auto setup =
        make_core_setup(config, devices, {.id = "main", .path = "/m.gguf", .deployment = "d"});
    ASSERT_EQ(setup.ok(), one.error.empty()) << (setup.ok() ? "" : setup.error().message());
    if (!setup.ok()) {
      EXPECT_EQ(setup.error().code(), ErrorCode::kInvalid);
      for (const std::string& part : one.error)
        EXPECT_NE(setup.error().message().find(part), std::string::npos)
            << part << " is not in: " << setup.error().message();
      continue;
    }
    std::vector<double> used(one.devices);
    for (size_t i = 0; i < one.deployments.size(); ++i) {
      const DeploymentSetup& made = setup->deployments.at(i);
      std::vector<std::vector<int>> on;
      for (const auto& replica : made.replicas) {
        std::vector<int>& ranks = on.emplace_back();
        for (const DeviceId id : replica) {
          ranks.push_back(id.value);
          used[static_cast<size_t>(id.value)] += made.load.memory_utilization;
        }
      }
      EXPECT_EQ(on, one.on[i]) << i;
      EXPECT_NEAR(made.load.memory_utilization, 0.8 * one.parts[i], 1e-9) << i;
    }
    for (const double sum : used) EXPECT_LE(sum, 0.8 + 1e-9) << "promised twice";
  }
}

// Goal: a replica's ranks are on one machine, and groups begin anew on each.
TEST(Setup, ReplicasStayOnOneMachine) {
  std::vector<DeviceSetup> devices;
  for (int32_t i = 0; i < 6; ++i) devices.push_back(device(i));
  for (size_t i = 3; i < 6; ++i) devices[i].node = i == 5 ? 2 : 1;
  config::Config config;
  config.engine.tensor_parallel_size = 2;
  const ModelSetup model{.id = "main", .path = "/m.gguf", .deployment = "d"};
  auto setup = make_core_setup(config, devices, model);
  ASSERT_TRUE(setup.ok()) << setup.error().message();
  const std::vector<std::vector<DeviceId>> want{{DeviceId{0}, DeviceId{1}},
                                                {DeviceId{3}, DeviceId{4}}};
  auto got = setup->deployments.front().replicas;
  std::ranges::sort(got);
  EXPECT_EQ(got, want);
  config.engine.tensor_parallel_size = 4;
  setup = make_core_setup(config, devices, model);
  ASSERT_FALSE(setup.ok());
  EXPECT_NE(setup.error().message().find("needs 4 devices"), std::string::npos);
  EXPECT_NE(setup.error().message().find("of one machine, there are 3 and 2 and 1"),
            std::string::npos)
      << setup.error().message();
}

// Goal: counters only grow, by what replicas counted, even if a replica starts anew from 0.
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
    replica.not_finite_outputs = hit;
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
  replica.id = ReplicaId{2};  // The replica was restarted.
  show(30, 5);
  EXPECT_EQ(value(kPrefixQueryTokens), 180);
  EXPECT_EQ(value(kPrefixHitTokens), 45);
  EXPECT_EQ(value(kAcceptedTokens), 45);
  EXPECT_EQ(value(kNotFiniteOutputs), 45);
  EXPECT_EQ(value(kSwappedBlocks), 0);
}

}  // namespace
}  // namespace altlas::control
