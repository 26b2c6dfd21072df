// Goal: the types and functions of `base` do what their headers say. Method: each one at its edges.
#include <gtest/gtest.h>

#include <thread>

#include "base/channel.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/philox.h"
#include "base/result.h"
#include "base/units.h"

namespace altlas {
namespace {

Result<int> half(int x) {
  if (x % 2) return invalid("odd", "x");
  return x / 2;
}
Result<int> quarter(int x) {
  ALTLAS_TRY(const int h, half(x));
  return half(h);
}

TEST(Result, TryPassesErrorsUp) {
  EXPECT_EQ(*quarter(8), 2);
  ASSERT_FALSE(quarter(6).ok());
  EXPECT_EQ(quarter(6).error().field(), "x");
}

TEST(Philox, MatchesThePublishedVectors) {
  // Random123's known-answer test for philox4x32-10: all zero, and all ones.
  EXPECT_EQ(philox(0, 0, 0),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ULL, ~0ULL, ~0ULL),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Units, BytesRoundTripAndRefuse) {
  EXPECT_EQ(*parse_bytes("4GiB"), 4 * kGiB);
  EXPECT_EQ(*parse_bytes("512M"), 512 * kMiB);
  EXPECT_EQ(*parse_bytes("1.5 KB"), 1500u);
  for (const char* bad : {"", "GiB", "-1", "1XB", "1e30GiB", "nan"})
    EXPECT_FALSE(parse_bytes(bad).ok()) << bad;
  EXPECT_EQ(format_bytes(3 * kGiB / 2), "1.50 GiB");
}

TEST(Units, DidYouMean) {
  const std::string_view names[] = {"round_robin", "least_loaded"};
  EXPECT_EQ(did_you_mean("least_load", names, 2), "least_loaded");
  EXPECT_EQ(did_you_mean("zebra", names, 2), "");
}

TEST(Ids, TaskIdTextRoundTrips) {
  const TaskId id{0x0123456789abcdefULL, 42};
  EXPECT_EQ(parse_task_id(to_string(id)), id);
  EXPECT_FALSE(parse_task_id("0123"));
  EXPECT_FALSE(parse_task_id(std::string(31, '0') + "G"));
}

TEST(Clock, Rfc3339) {
  EXPECT_EQ(to_rfc3339(1'700'000'000'000'001), "2023-11-14T22:13:20.000001Z");
}

TEST(Channel, FullAnswersAndKeepsTheValue) {
  Channel<std::string> channel(1);
  EXPECT_TRUE(channel.try_send("a"));
  std::string second = "b";
  EXPECT_FALSE(channel.try_send(std::move(second)));
  EXPECT_EQ(second, "b");
  EXPECT_EQ(channel.drain().size(), 1u);
  channel.close();
  EXPECT_FALSE(channel.try_send("c"));
}

TEST(Channel, OrderHoldsAcrossThreads) {
  Channel<int> channel(16);
  std::jthread sender([&] {
    for (int i = 0; i < 1000;) i += channel.try_send(int{i});
  });
  int next = 0;
  while (next < 1000)
    for (const int got : channel.wait_drain(std::chrono::milliseconds(100))) ASSERT_EQ(got, next++);
}

TEST(Hasher, LengthAndOrderMatter) {
  EXPECT_NE(Hasher().add("ab").add("c").value(), Hasher().add("a").add("bc").value());
  EXPECT_EQ(Hasher().add(1).add(2).value(), Hasher().add(1).add(2).value());
}

}  // namespace
}  // namespace altlas
