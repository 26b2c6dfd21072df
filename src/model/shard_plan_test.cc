// Goal: the parts of all ranks are the whole model, cut where products allow it, for any number of
// ranks and any shares; what can't be cut is refused with the numbers.
#include "model/shard_plan.h"

#include <gtest/gtest.h>

#include <cmath>

namespace altlas::model {
namespace {

Hyperparameters model(uint32_t q_heads, uint32_t kv_heads, uint32_t head_dim,
                      uint32_t feed_forward) {
  Hyperparameters config;
  config.hidden = q_heads * head_dim;
  config.q_heads = q_heads;
  config.kv_heads = kv_heads;
  config.head_dim = head_dim;
  config.feed_forward = feed_forward;
  config.vocab_size = 151936;
  return config;
}

// Every row once, in order, cut at multiples of `unit`.
void expect_whole(const std::vector<ShardPlan>& plans, ShardRange ShardPlan::* part, uint32_t count,
                  uint32_t unit) {
  uint32_t at = 0;
  for (const ShardPlan& plan : plans) {
    EXPECT_EQ((plan.*part).begin, at);
    EXPECT_EQ(at % unit, 0u);
    at = (plan.*part).end;
  }
  EXPECT_EQ(at, count);
}

TEST(ShardPlan, PartsAreTheWholeModel) {
  const Hyperparameters models[] = {model(14, 2, 64, 4864), model(32, 8, 128, 14336),
                                    model(28, 4, 128, 18944), model(12, 12, 64, 3072),
                                    model(7, 1, 48, 320)};
  const std::vector<double> uneven[] = {{}, {3, 1}, {1, 2, 3}, {5, 1, 1, 1}, {1, 1, 1, 1, 100}};
  for (const Hyperparameters& config : models)
    for (uint32_t ranks = 1; ranks <= 7; ++ranks)
      for (const std::vector<double>& split : uneven) {
        if (!split.empty() && split.size() != ranks) continue;
        const auto plans = shard_plans(config, ranks, split);
        ASSERT_TRUE(plans.ok()) << plans.error().message();
        ASSERT_EQ(plans->size(), ranks);
        expect_whole(*plans, &ShardPlan::q_heads, config.q_heads, 1);
        expect_whole(*plans, &ShardPlan::hidden, config.hidden, 16);
        expect_whole(*plans, &ShardPlan::feed_forward, config.feed_forward, 64);
        expect_whole(*plans, &ShardPlan::vocab, config.vocab_size, 256);
        for (const ShardPlan& plan : *plans) {
          EXPECT_GT(plan.q_heads.size(), 0u);
          EXPECT_EQ(plan.head_groups.size(), plan.kv_heads.size());
          uint32_t head = plan.q_heads.begin;
          for (const HeadGroup& group : plan.head_groups) {
            EXPECT_EQ(group.q_heads.begin, head);
            head = group.q_heads.end;
            EXPECT_EQ(group.q_heads.begin / (config.q_heads / config.kv_heads), group.kv_head);
            EXPECT_EQ((head - 1) / (config.q_heads / config.kv_heads), group.kv_head);
          }
          EXPECT_EQ(head, plan.q_heads.end);
        }
      }
}

TEST(ShardPlan, KvHeadsStayWholeWhereTheyCan) {
  struct Row {
    uint32_t ranks;
    std::vector<double> split;
    std::vector<uint32_t> q_heads;   // How many a rank has.
    std::vector<uint32_t> kv_heads;  // How many it holds.
  };
  // 32 query heads in groups of 4.
  for (const Row& row :
       {Row{2, {}, {16, 16}, {4, 4}}, Row{2, {3, 1}, {24, 8}, {6, 2}},
        Row{3, {}, {12, 8, 12}, {3, 2, 3}}, Row{6, {}, {5, 6, 5, 5, 6, 5}, {2, 2, 2, 2, 2, 2}},
        Row{8, {}, {4, 4, 4, 4, 4, 4, 4, 4}, {1, 1, 1, 1, 1, 1, 1, 1}},
        Row{2, {15, 1}, {30, 2}, {8, 1}}}) {
    const auto plans = shard_plans(model(32, 8, 128, 14336), row.ranks, row.split);
    ASSERT_TRUE(plans.ok());
    for (uint32_t r = 0; r < row.ranks; ++r) {
      EXPECT_EQ((*plans)[r].q_heads.size(), row.q_heads[r]) << row.ranks << " rank " << r;
      EXPECT_EQ((*plans)[r].kv_heads.size(), row.kv_heads[r]) << row.ranks << " rank " << r;
    }
  }
}

TEST(ShardPlan, SharesCountForEveryPart) {
  const auto plans = shard_plans(model(32, 8, 128, 14336), 2, std::vector<double>{3, 1});
  ASSERT_TRUE(plans.ok());
  const ShardPlan& large = (*plans)[0];
  EXPECT_EQ(large.hidden.size(), 3072u);
  EXPECT_EQ(large.feed_forward.size(), 10752u);
  EXPECT_EQ(large.vocab.size(), 446u * 256);  // The model has 594 runs.
  EXPECT_TRUE(large.attends_whole_blocks);
}

TEST(ShardPlan, RefusesWithTheNumbers) {
  const Hyperparameters config = model(14, 2, 64, 4864);
  struct Row {
    uint32_t ranks;
    std::vector<double> split;
    const char* words;
  };
  for (const Row& row :
       {Row{15, {}, "the model has 14 query heads: use 1 to 14"},
        Row{2, {1}, "1 shares for tensor_parallel_size 2"}, Row{2, {0, 1}, "above 0"},
        Row{2, {-1, 2}, "above 0"}, Row{3, {1, 1, HUGE_VAL}, "above 0"}}) {
    const auto plans = shard_plans(config, row.ranks, row.split);
    ASSERT_FALSE(plans.ok());
    EXPECT_NE(plans.error().message().find(row.words), std::string::npos)
        << plans.error().message();
  }
}

TEST(SplitLayers, BalancedStagesCountTheHead) {
  Hyperparameters config = model(14, 2, 64, 4864);
  config.layer_count = 24;  // The head costs as much as nine of them.
  const auto two = split_layers(config, 2, PipelineSplit::kBalanced);
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(*two, (std::vector<ShardRange>{{0, 17}, {17, 24}}));
  const auto even = split_layers(config, 5, PipelineSplit::kEven);
  ASSERT_TRUE(even.ok());
  EXPECT_EQ(*even, (std::vector<ShardRange>{{0, 4}, {4, 8}, {8, 12}, {12, 16}, {16, 24}}));
  for (uint32_t stages = 1; stages <= 24; ++stages) {
    const auto split = split_layers(config, stages, PipelineSplit::kBalanced);
    ASSERT_TRUE(split.ok());
    uint32_t at = 0;
    for (const ShardRange& stage : *split) {
      EXPECT_EQ(stage.begin, at);
      EXPECT_GT(stage.size(), 0u);
      at = stage.end;
    }
    EXPECT_EQ(at, 24u);
  }
  const auto many = split_layers(config, 25, PipelineSplit::kBalanced);
  ASSERT_FALSE(many.ok());
  EXPECT_NE(many.error().message().find("the model has 24 layers: use 1 to 24"), std::string::npos);
}

TEST(ShardPlan, ExpertsAreSpreadOverGroups) {
  Hyperparameters config = model(32, 4, 128, 6144);
  config.experts = {.count = 10, .used = 2, .feed_forward = 768};
  const auto plans = shard_plans(config, 4, {}, 2);
  ASSERT_TRUE(plans.ok()) << plans.error().message();
  for (uint32_t r = 0; r < 4; ++r) {
    const ShardPlan& plan = (*plans)[r];
    EXPECT_EQ(plan.experts, (r < 2 ? ShardRange{0, 5} : ShardRange{5, 10}));
    EXPECT_EQ(plan.expert_feed_forward, (r % 2 == 0 ? ShardRange{0, 384} : ShardRange{384, 768}));
    EXPECT_EQ(plan.expert_hidden.size(), 2048u);
    EXPECT_EQ(plan.hidden.size(), 1024u);
  }
  struct Row {
    uint32_t ranks, groups;
    const char* words;
  };
  for (const Row& row :
       {Row{4, 3, "must divide tensor_parallel_size 4: use 1, 2, 4"},
        Row{12, 12, "the model has 10 experts: use 1 to 10"}, Row{2, 4, "use 1, 2"}}) {
    const auto wrong = shard_plans(config, row.ranks, {}, row.groups);
    ASSERT_FALSE(wrong.ok());
    EXPECT_NE(wrong.error().message().find(row.words), std::string::npos)
        << wrong.error().message();
  }
}

// Goal: two shares never have one name, since packed weights are kept under it.
TEST(RankShard, NamesTellSharesApart) {
  const RankShard even{.tp_rank = 0, .tp_size = 2};
  EXPECT_EQ(even.name(), "tp0of2pp0of1");
  const RankShard a{.tp_rank = 0, .tp_size = 2, .tensor_split = {3, 1}},
      b{.tp_rank = 0, .tp_size = 2, .tensor_split = {2, 1}};
  EXPECT_NE(a.name(), b.name());
  EXPECT_NE(a.name(), even.name());
}

}  // namespace
}  // namespace altlas::model
