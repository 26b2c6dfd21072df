#include "worker/outbox.h"

#include <gtest/gtest.h>

namespace altlas::worker {
namespace {

engine::Report tokens(uint64_t sequence, uint32_t first, uint64_t offset, std::string text) {
  return engine::SequenceTokens{SequenceId{sequence},
                                TokenDelta{first, {static_cast<int32_t>(first)}, offset, text, {}}};
}
const TokenDelta& delta(const std::optional<engine::Report>& report) {
  return std::get<engine::SequenceTokens>(*report).delta;
}

TEST(Outbox, NeighbouringDeltasBecomeOne) {
  Outbox outbox;
  outbox.push(tokens(1, 0, 0, "a"));
  outbox.push(tokens(2, 0, 0, "x"));
  outbox.push(tokens(1, 1, 1, "bc"));
  outbox.push(tokens(1, 2, 3, "d"));
  ASSERT_EQ(outbox.size(), 2u);
  const auto first = outbox.pop();
  EXPECT_EQ(delta(first).text, "abcd");
  EXPECT_EQ(delta(first).ids, (std::vector<int32_t>{0, 1, 2}));
  outbox.push(tokens(1, 3, 4, "e"));
  EXPECT_EQ(outbox.size(), 2u) << "what was taken is not merged into";
  EXPECT_EQ(delta(outbox.pop()).text, "x");
  EXPECT_EQ(delta(outbox.pop()).text, "e");
  EXPECT_FALSE(outbox.pop());
}

TEST(Outbox, GapsAndEndsAreNotMergedAcross) {
  Outbox outbox;
  outbox.push(tokens(1, 0, 0, "a"));
  outbox.push(tokens(1, 5, 1, "f"));
  outbox.push(engine::SequenceFinished{SequenceId{1}, {}});
  outbox.push(tokens(1, 6, 2, "g"));
  EXPECT_EQ(outbox.size(), 4u);
  EXPECT_EQ(delta(outbox.pop()).text, "a");
  EXPECT_EQ(delta(outbox.pop()).text, "f");
  EXPECT_TRUE(std::holds_alternative<engine::SequenceFinished>(*outbox.pop()));
  EXPECT_EQ(delta(outbox.pop()).text, "g");
}

TEST(Outbox, OnlyTheNewestStatisticsWait) {
  Outbox outbox;
  for (uint64_t i = 1; i <= 100; ++i) {
    outbox.push(engine::ReplicaStats{i});
    outbox.push(engine::LoadProgress{"weights", static_cast<double>(i) / 100});
  }
  ASSERT_EQ(outbox.size(), 2u);
  EXPECT_EQ(std::get<engine::ReplicaStats>(*outbox.pop()).steps, 100u);
  outbox.push(engine::ReplicaStats{101});
  EXPECT_EQ(std::get<engine::LoadProgress>(*outbox.pop()).fraction, 1.0);
  EXPECT_EQ(std::get<engine::ReplicaStats>(*outbox.pop()).steps, 101u);
}

}  // namespace
}  // namespace altlas::worker
