// Goal: a replica holds what its rank with the least room can hold, and reports what each rank
// takes.
#include "engine/cpu_executor.h"

#include <gtest/gtest.h>

namespace altlas::engine {
namespace {

model::ReplicaShape shape(uint32_t blocks, uint64_t weights, std::vector<kv::GroupSpec> groups) {
  model::ReplicaShape out;
  out.sequences_max = 8;
  out.model_len_max = blocks * 16;
  out.block_tokens = 16;
  out.swap_places = blocks / 2;
  out.weight_bytes = weights;
  out.activation_bytes = 7;
  out.groups = std::move(groups);
  for (kv::GroupSpec& group : out.groups) group.blocks = blocks;
  return out;
}

TEST(LimitsOfRanks, TheLeastRoomCounts) {
  const std::vector<kv::GroupSpec> groups{kv::GroupSpec::attention(0, 64),
                                          {kv::GroupKind::kState, 0, 0, 500}};
  std::vector<kv::GroupSpec> larger = groups;
  larger[0].block_bytes = 96;
  const model::ReplicaShape ranks[] = {shape(40, 1000, groups), shape(30, 600, larger),
                                       shape(50, 900, groups)};
  const ReplicaLimits limits = limits_of(ranks);
  EXPECT_EQ(limits.groups[0].blocks, 30u);
  EXPECT_EQ(limits.groups[1].blocks, 30u);
  EXPECT_EQ(limits.groups[0].block_bytes, 96u);
  EXPECT_EQ(limits.model_len_max, 480u);
  EXPECT_EQ(limits.swap_places, 15u);
  EXPECT_EQ(limits.sequences_max, 8u);
  EXPECT_EQ(limits.block_bytes(), 96u);
  EXPECT_EQ(limits.ranks, (std::vector<replica::RankMemory>{
                              {1000, 7, {64, 0}}, {600, 7, {96, 0}}, {900, 7, {64, 0}}}));
}

}  // namespace
}  // namespace altlas::engine
