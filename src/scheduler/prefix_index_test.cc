// Goal: the longest common prefix in whole blocks is found per device, and memory is limited.
// Method: by hand.
#include "scheduler/prefix_index.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace altlas::scheduler {

TEST(PrefixIndex, FindsTheLongestSeenPrefixOfEachDevice) {
  PrefixIndex index(8);
  std::vector<int32_t> prompt(70);
  std::iota(prompt.begin(), prompt.end(), 0);
  index.add(DeviceId{1}, "", prompt);
  EXPECT_EQ(index.cached_tokens(DeviceId{1}, "", prompt), 64u);
  EXPECT_EQ(index.cached_tokens(DeviceId{0}, "", prompt), 0u);
  EXPECT_EQ(index.cached_tokens(DeviceId{1}, "adapter", prompt), 0u);
  std::vector<int32_t> other = prompt;
  other[40] = -1;
  EXPECT_EQ(index.cached_tokens(DeviceId{1}, "", other), 32u);
  index.add(DeviceId{0}, "", other);  // The index holds eight entries: 4 + 4.
  EXPECT_EQ(index.cached_tokens(DeviceId{1}, "", prompt), 64u);
  other[0] = -1;
  index.add(DeviceId{0}, "", other);  // Four more come: those of device 1 go.
  EXPECT_EQ(index.cached_tokens(DeviceId{1}, "", prompt), 0u);
  index.forget(DeviceId{0});
  EXPECT_EQ(index.cached_tokens(DeviceId{0}, "", other), 0u);
}

TEST(PrefixIndex, TellsPayloadsApart) {
  const auto prompt = [](const char* content, int32_t first) {
    Prompt out = std::vector<int32_t>(20, first);
    out.add_payload(content, 30);
    out.push_back(1);
    return out;
  };
  PrefixIndex index;
  index.add(DeviceId{1}, "", prompt("cat", 5));
  EXPECT_EQ(index.cached_tokens(DeviceId{1}, "", prompt("cat", 5)), 48u);
  EXPECT_EQ(index.cached_tokens(DeviceId{1}, "", prompt("dog", 5)), 16u);
  EXPECT_EQ(index.cached_tokens(DeviceId{1}, "", prompt("cat", 6)), 0u);
}

}  // namespace altlas::scheduler
