// Goal: what a replica answers does not depend on how its ranks share the model: tokens,
// log-probabilities and embeddings are the same bits for any number of ranks, shares and threads,
// any architecture, with swapped blocks and prompts in chunks.
// Method: the same plans run on an executor of one rank with one thread, and on others.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "engine/cpu_executor.h"
#include "engine/test_layouts.h"
#include "model/random_model.h"
#include "model/test_tiny_model.h"

namespace altlas::engine {
namespace {

TEST(Layout, SameBitsForEveryArchitecture) {
  const Layout layouts[] = {{2, 1}, {2, 2}, {2, 1, {3, 1}}, {1, 1, {}, 2}, {2, 1, {}, 2}};
  for (const char* name :
       {"qwen2_tied", "qwen2_untied", "qwen3", "llama", "llama3", "mistral", "mistral_window",
        "gemma2", "gemma3", "mixtral", "qwen2_moe", "qwen3_moe"}) {
    using namespace model::testing_support;
    const model::LoadOptions load =
        options(has_tiny_gguf(name) ? write_tiny_gguf(name) : write_tiny_folder(name, DType::kF32));
    const Said want = answers({}, load);
    ASSERT_GT(want.tokens.size(), 20u);
    ASSERT_GT(want.embedding.size(), 0u);
    for (const Layout& layout : layouts)
      expect_same(answers(layout, load), want, name + (" " + name_of(layout)));
  }
}

// Quantised weights, and heads, rows and runs of the vocabulary that fall to different ranks.
TEST(Layout, SameBitsForAnyNumberOfRanks) {
  const Layout layouts[] = {{2, 1},
                            {3, 1},
                            {4, 1},
                            {5, 1},
                            {6, 1},
                            {7, 1},
                            {14, 1},
                            {1, 1, {}, 3},
                            {1, 2, {}, 4},
                            {2, 1, {}, 2},
                            {3, 1, {}, 2, PipelineSplit::kEven},
                            {2, 1, {3, 1}, 5},
                            {2, 2},
                            {3, 2},
                            {2, 1, {3, 1}},
                            {3, 1, {1, 5, 2}},
                            {2, 3, {1, 9}}};
  for (const auto& [name, type] : {std::pair{"qwen2-tiny", DType::kQ4_0},
                                   {"qwen2-tiny", DType::kBF16},
                                   {"llama-tiny", DType::kQ4_K},
                                   {"qwen3moe-tiny", DType::kQ8_0}}) {
    const auto file = model::RandomModel::make(name, type, uint64_t{1} << 30, 1, {});
    ASSERT_TRUE(file.ok()) << file.error().message();
    const Said want = answers({}, options(file->path()));
    ASSERT_GT(want.tokens.size(), 20u);
    const bool large = std::string(name) == "qwen2-tiny";
    const uint32_t heads = large ? 14 : 4, layers = large ? 5 : 2;
    for (const Layout& layout : layouts) {
      if (layout.ranks > heads || layout.stages > layers) continue;
      const Said got = answers(layout, options(file->path()));
      expect_same(got, want, name + (" " + name_of(layout)));
      // Ranks hold their shares, and little more than the whole together.
      const uint64_t sum =
          std::accumulate(got.weight_bytes.begin(), got.weight_bytes.end(), uint64_t{0});
      // A tied head is the embedding of the first stage, too.
      if (layout.stages == 1)
        EXPECT_LT(sum, want.weight_bytes[0] * 1.35) << name << " " << name_of(layout);
      if (layout.split.empty() && layout.ranks == 2)
        EXPECT_LT(got.weight_bytes[0], want.weight_bytes[0] * 0.6) << name;
    }
  }
}

// Goal: experts spread over ranks, or over groups that share their rows, give the same bits.
TEST(Layout, SameBitsForAnySpreadOfExperts) {
  const Layout layouts[] = {{.ranks = 2, .expert_groups = 2},
                            {.ranks = 2, .threads = 2, .expert_groups = 2},
                            {.ranks = 2, .split = {3, 1}, .expert_groups = 2},
                            {.ranks = 2, .stages = 2, .expert_groups = 2},
                            {.ranks = 4, .expert_groups = 2},
                            {.ranks = 4, .threads = 2, .expert_groups = 4}};
  using namespace model::testing_support;
  for (const char* name : {"mixtral", "qwen2_moe", "qwen3_moe", "qwen3moe-tiny"}) {
    const bool random = std::string(name) == "qwen3moe-tiny";
    std::optional<model::RandomModel> file;
    if (random) {
      auto made = model::RandomModel::make(name, DType::kQ8_0, uint64_t{1} << 30, 1, {});
      ASSERT_TRUE(made.ok()) << made.error().message();
      file.emplace(*std::move(made));
    }
    const model::LoadOptions load =
        options(random                ? file->path()
                : has_tiny_gguf(name) ? write_tiny_gguf(name)
                                      : write_tiny_folder(name, DType::kF32));
    const Said want = answers({}, load);
    ASSERT_GT(want.tokens.size(), 20u);
    for (const Layout& layout : layouts) {
      if (layout.ranks > (random ? 4u : 2u)) continue;
      const Said got = answers(layout, load);
      expect_same(got, want, name + (" " + name_of(layout)));
      if (random && layout.stages == 1 && layout.split.empty())
        EXPECT_LT(got.weight_bytes[0], want.weight_bytes[0] * 0.7) << name_of(layout);
    }
  }
}

// Goal: what is planned from the file's metadata is what the devices' ledgers have after the load.
TEST(Layout, HoldsWhatWasPlanned) {
  const Layout layouts[] = {{},
                            {1, 2},
                            {2, 1},
                            {2, 1, {3, 1}},
                            {1, 1, {}, 2},
                            {2, 1, {}, 2},
                            {.ranks = 2, .expert_groups = 2}};
  for (const char* name : {"qwen2-tiny", "llama-tiny", "qwen3moe-tiny"}) {
    const auto file = model::RandomModel::make(name, DType::kQ4_K, uint64_t{1} << 30, 1, {});
    ASSERT_TRUE(file.ok()) << file.error().message();
    for (const Layout& layout : layouts)
      for (const KvType type : {KvType::kF16, KvType::kBf16, KvType::kF32, KvType::kQ8_0}) {
        if (layout.expert_groups > 1 && std::string(name) != "qwen3moe-tiny") continue;
        const std::string where = name + (" " + name_of(layout));
        model::LoadOptions load = options(file->path());
        load.kv_dtype = type;
        const auto planned = CpuExecutor::plan(ranks_of(layout, load), layout.depth);
        ASSERT_TRUE(planned.ok()) << where << ": " << planned.error().message();
        const auto executor = CpuExecutor::open(ranks_of(layout, load), layout.depth, {});
        ASSERT_TRUE(executor.ok()) << where << ": " << executor.error().message();
        const auto held = (*executor)->memory_use();
        ASSERT_EQ(held.size(), planned->ranks.size()) << where;
        for (size_t r = 0; r < held.size(); ++r) {
          const replica::RankMemory& rank = planned->ranks[r];
          uint64_t kv = 0;
          for (size_t g = 0; g < rank.blocks.size(); ++g)
            kv += planned->groups[g].blocks * rank.blocks[g];
          const auto want = static_cast<double>(rank.fixed() + kv);
          EXPECT_NEAR(static_cast<double>(held[r].used), want, 0.02 * want) << where;
          EXPECT_GT(kv, 0u) << where;
        }
      }
  }
}

// Goal: layers that are read from the packed file ahead of their turn give the same bits, in every
// layout, also with steps in flight, and the ledger counts what is in memory of them at once.
TEST(Layout, SameBitsWithOffloadedLayers) {
  const auto file = model::RandomModel::make("qwen2-tiny", DType::kQ4_0, uint64_t{1} << 30, 1, {});
  ASSERT_TRUE(file.ok()) << file.error().message();
  const std::string folder = ::testing::TempDir() + "/offloaded";
  // The file of a random model has no name on disk, and so no packed file: it gets one.
  const std::string path = ::testing::TempDir() + "/offloaded.gguf";
  std::filesystem::copy_file(file->path(), path, std::filesystem::copy_options::overwrite_existing);
  const Said want = answers({}, options(path));
  ASSERT_GT(want.tokens.size(), 20u);
  const Layout layouts[] = {{}, {1, 2}, {2, 1}, {1, 1, {}, 2}, {2, 2}};
  for (const auto& [layers, all] : {std::pair{1u, false}, {4u, false}, {99u, false}, {0u, true}})
    for (const Layout& layout : layouts) {
      model::LoadOptions load = options(path);
      load.panels = {.folder = folder, .bytes_min = 1};
      load.offload_layers = layers;
      load.stream_weights = all;
      const Said got = answers(layout, load);
      const std::string where = name_of(layout) + " " + std::to_string(layers);
      expect_same(got, want, where);
      // Three of five layers stay in memory around their turn.
      if (layout.ranks == 1 && layout.stages == 1 && layers != 1)
        EXPECT_LT(got.weight_bytes[0], want.weight_bytes[0]) << where;
    }
  model::LoadOptions load = options(path);
  load.stream_weights = true;  // Without a place for the packed file.
  const auto refused = CpuExecutor::open(ranks_of({}, load), 1, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
  EXPECT_NE(refused.error().message().find("repack_cache"), std::string::npos);
}

// Goal: a draft model on the ranks guesses the same, and what follows is the same.
TEST(Layout, SameBitsWithADraftModel) {
  const std::string path = model::testing_support::write_tiny_gguf("llama");
  model::LoadOptions load = options(path);
  load.draft_model_path = path;
  load.step_tokens_max = 16;
  std::vector<std::vector<int32_t>> said;
  for (const Layout& layout : {Layout{}, Layout{2, 1}, Layout{2, 2}}) {
    auto executor = CpuExecutor::open(ranks_of(layout, load), 1, {});
    ASSERT_TRUE(executor.ok()) << executor.error().message();
    StepPlan plan;
    plan.starts.push_back({0, std::make_shared<const SequenceRequest>(
                                  SequenceRequest{std::vector<int32_t>{5, 9, 3}, {}, {}})});
    plan.tables.push_back({.slot = 0, .changes = {{.group = 0, .blocks = {BlockId{0}, {1}}}}});
    plan.entries.push_back({.slot = 0, .tokens = {5, 9, 3}, .samples = true});
    std::vector<int32_t>& tokens = said.emplace_back();
    for (int turn = 0; turn < 6; ++turn) {
      (*executor)->launch(std::exchange(plan, StepPlan{}));
      const auto result = (*executor)->collect();
      ASSERT_TRUE(result.ok()) << result.error().message();
      const SampledToken& sampled = result->sampled.at(0);
      tokens.push_back(sampled.token);
      for (const FollowingToken& following : sampled.following) tokens.push_back(following.token);
      plan.entries.push_back({.slot = 0,
                              .position = static_cast<uint32_t>(2 + tokens.size()),
                              .tokens = {tokens.back(), kTokenGuessed, kTokenGuessed},
                              .samples = true,
                              .guesses = 2});
    }
    EXPECT_GT(tokens.size(), 6u);  // Some guesses were right: it is the same model.
  }
  EXPECT_EQ(said[1], said[0]);
  EXPECT_EQ(said[2], said[0]);
}

// Goal: what can't be shared is refused before anything is loaded, in words that help.
TEST(Layout, RefusesWhatCanNotBeShared) {
  struct Row {
    Layout layout;
    const char* words;
  };
  for (const Row& row : {Row{{.ranks = 3}, "the model has 2 query heads: use 1 to 2"},
                         Row{{.stages = 3}, "the model has 2 layers: use 1 to 2"},
                         Row{{.ranks = 2, .expert_groups = 2}, "the model has no experts: use 1"},
                         Row{{.ranks = 2, .split = {1, -1}}, "above 0"}}) {
    const auto load = options(model::testing_support::write_tiny_gguf("qwen2_tied"));
    const auto executor = CpuExecutor::open(ranks_of(row.layout, load), 1, {});
    ASSERT_FALSE(executor.ok());
    EXPECT_NE(executor.error().message().find(row.words), std::string::npos)
        << executor.error().message();
  }
}

// Goal: a plan that a rank refuses fails on all of them, and nobody waits for a step that others
// do not begin.
TEST(Layout, ARefusedPlanFailsOnEveryRank) {
  const auto load = options(model::testing_support::write_tiny_gguf("qwen2_tied"));
  auto executor = CpuExecutor::open(ranks_of({2, 1}, load), 1, {});
  ASSERT_TRUE(executor.ok());
  StepPlan plan;
  plan.entries.push_back({.slot = 7, .tokens = {1}, .samples = true});
  (*executor)->launch(plan);
  EXPECT_FALSE((*executor)->collect().ok());
  (*executor)->launch(StepPlan{});
  EXPECT_FALSE((*executor)->collect().ok());
}

// Goal: an executor that goes while steps are in flight waits for them.
TEST(Layout, EndsWithStepsInFlight) {
  const auto load = options(model::testing_support::write_tiny_gguf("llama"));
  for (int turn = 0; turn < 20; ++turn)
    for (const uint32_t stages : {1u, 2u}) {
      const Layout layout{.ranks = 2, .stages = stages, .depth = 2};
      auto executor = CpuExecutor::open(ranks_of(layout, load), layout.depth, {});
      ASSERT_TRUE(executor.ok());
      for (int32_t slot = 0; slot < 2; ++slot) {
        StepPlan plan;
        plan.starts.push_back({slot, std::make_shared<const SequenceRequest>(
                                         SequenceRequest{std::vector<int32_t>{1, 2, 3}, {}, {}})});
        plan.tables.push_back(
            {.slot = slot,
             .changes = {{.group = 0, .blocks = {BlockId{static_cast<uint32_t>(slot)}}}}});
        plan.entries.push_back({.slot = slot, .tokens = {1, 2, 3}, .samples = true});
        (*executor)->launch(std::move(plan));
      }
    }
}

// Goal: steps of different sequences are in the pipeline at once, and answer as alone.
TEST(Layout, MicroBatchesFillThePipeline) {
  const auto file = model::RandomModel::make("qwen2-tiny", DType::kQ8_0, uint64_t{1} << 30, 1, {});
  ASSERT_TRUE(file.ok()) << file.error().message();
  const auto tokens_of = [&](const Layout& layout) {
    std::vector<std::vector<int32_t>> said(2);
    auto executor = CpuExecutor::open(ranks_of(layout, options(file->path())), layout.depth, {});
    EXPECT_TRUE(executor.ok());
    if (!executor.ok()) return said;
    const auto launch = [&](int32_t slot) {
      std::vector<int32_t>& known = said[static_cast<size_t>(slot)];
      StepPlan plan;
      StepEntry entry{.slot = slot, .samples = true};
      if (known.empty()) {
        known = {7 + slot, 11, 13};
        plan.starts.push_back(
            {slot, std::make_shared<const SequenceRequest>(SequenceRequest{known, {}, {}})});
        plan.tables.push_back(
            {.slot = slot,
             .changes = {{.group = 0, .blocks = {BlockId{static_cast<uint32_t>(slot)}}}}});
        entry.tokens = known;
      } else {
        entry.position = static_cast<uint32_t>(known.size()) - 1;
        entry.tokens = {known.back()};
      }
      plan.entries.push_back(std::move(entry));
      (*executor)->launch(std::move(plan));
    };
    launch(0);
    for (int32_t turn = 1; turn < 24; ++turn) {  // Depth 2: the other's step is launched meanwhile.
      launch(turn % 2);
      const auto result = (*executor)->collect();
      EXPECT_TRUE(result.ok());
      if (!result.ok()) return said;
      const SampledToken& sampled = result->sampled.at(0);
      EXPECT_EQ(sampled.slot, (turn - 1) % 2);
      said[static_cast<size_t>(sampled.slot)].push_back(sampled.token);
      EXPECT_EQ(result->rank_busy_us.size(),
                layout.stages == 1 ? 0u : layout.stages * layout.ranks);
    }
    return said;
  };
  const auto want = tokens_of({.depth = 2});
  EXPECT_EQ(want[0].size(), 15u);
  EXPECT_EQ(tokens_of({.stages = 2, .depth = 2}), want);
  EXPECT_EQ(tokens_of({.ranks = 2, .stages = 3, .depth = 2}), want);
}

}  // namespace
}  // namespace altlas::engine
