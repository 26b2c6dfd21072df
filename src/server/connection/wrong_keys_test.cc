#include "server/connection/wrong_keys.h"

#include <gtest/gtest.h>

#include <vector>

namespace altlas::server {
namespace {

TEST(WrongKeys, GrowSlowAndAreToldOnceATenfold) {
  WrongKeys keys;
  std::vector<TimeUs> delays;
  std::vector<int64_t> told;
  for (int64_t i = 1; i <= 1000; ++i) {
    const auto verdict = keys.note("10.0.0.1", i);
    EXPECT_EQ(verdict.count, i);
    delays.push_back(verdict.delay);
    if (verdict.log) told.push_back(i);
  }
  EXPECT_EQ(delays[2], 0);
  EXPECT_EQ(delays[3], kSecond / 20);
  EXPECT_EQ(delays[5], kSecond / 5);
  EXPECT_EQ(delays[999], 2 * kSecond);
  EXPECT_EQ(told, (std::vector<int64_t>{1, 10, 100, 1000}));
}

TEST(WrongKeys, AreOfOneAddressAndForgottenAfterAMinute) {
  WrongKeys keys;
  for (int i = 0; i < 20; ++i) keys.note("10.0.0.1", kSecond);
  EXPECT_EQ(keys.note("10.0.0.2", kSecond).delay, 0);
  EXPECT_GT(keys.note("10.0.0.1", 2 * kSecond).delay, 0);
  EXPECT_EQ(keys.note("10.0.0.1", 70 * kSecond).count, 1);
}

TEST(WrongKeys, RemembersABoundedNumberOfAddresses) {
  WrongKeys keys;
  for (int i = 0; i < 5; ++i) keys.note("first", 1);
  for (int i = 0; i < 1024; ++i) keys.note(std::to_string(i), 2);
  EXPECT_EQ(keys.note("first", 3).count, 1);  // "first" was forgotten to make room for the others.
  EXPECT_EQ(keys.note("1023", 3).count, 2);
}

}  // namespace
}  // namespace altlas::server
