#include "model/step_tokens.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

namespace altlas::model {
namespace {

// Goal: tokens come in the order of entries; the items of a step, taken from the last on, hold
// every query of every KV head once, and no more at once than asked for.
TEST(StepTokens, ItemsHoldEveryQueryOfEveryHead) {
  const int32_t ids[] = {7, 8, 9, 10, 11, 12};
  const BatchEntry entries[] = {{.tokens = {ids, 1}, .position = 40}, {.tokens = {ids + 1, 5}}};
  StepTokens tokens(6, 2);
  tokens.list(entries, 2);
  ASSERT_EQ(tokens.size(), 6u);
  EXPECT_EQ(tokens[0].position, 40u);
  for (uint32_t i = 1; i < 6; ++i) {
    EXPECT_EQ(tokens[i].id, ids[i]);
    EXPECT_EQ(tokens[i].position, i - 1);
    EXPECT_EQ(tokens[i].entry, 1u);
  }
  for (int turn = 0; turn < 2; ++turn) {
    std::set<std::tuple<uint32_t, uint32_t>> seen;  // Pairs of row and head.
    uint32_t before = 6;
    while (const AttentionItem* item = tokens.take()) {
      EXPECT_LE(item->tokens, 2u);
      EXPECT_LE(item->first_row, before);
      before = item->first_row;
      for (uint32_t i = 0; i < item->tokens; ++i) {
        EXPECT_EQ(tokens[item->first_row + i].entry, item->entry);
        EXPECT_TRUE(seen.emplace(item->first_row + i, item->kv_head).second);
      }
    }
    EXPECT_EQ(seen.size(), 12u);
    EXPECT_EQ(tokens.take(), nullptr);
    tokens.put_back();
  }
}

TEST(StepTokensDeathTest, MoreThanTheCapacityIsABug) {
  const int32_t ids[] = {1, 2, 3};
  const BatchEntry entries[] = {{.tokens = ids}};
  EXPECT_DEATH(StepTokens(2, 1).list(entries, 2), "token budget");
}

}  // namespace
}  // namespace altlas::model
