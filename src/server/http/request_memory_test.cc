#include "server/http/request_memory.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

namespace altlas::server {
namespace {

TEST(RequestMemory, BoundsWhatAllHold) {
  const auto memory = std::make_shared<RequestMemory>(1000);
  MemoryLease first(memory);
  std::optional<MemoryLease> second(std::in_place, memory);
  EXPECT_TRUE(first.hold(600).ok());
  EXPECT_TRUE(second->hold(400).ok());
  EXPECT_EQ(second->hold(401).error().code(), ErrorCode::kBusy);
  EXPECT_EQ(first.add(1).error().code(), ErrorCode::kBusy);
  EXPECT_EQ(first.hold(1001).error().code(), ErrorCode::kTooLarge);
  EXPECT_EQ(memory->held(), 1000);  // Refusals change nothing.
  second.reset();
  EXPECT_TRUE(first.hold(1000).ok());
  EXPECT_TRUE(first.hold(10).ok());
  EXPECT_EQ(memory->held(), 10);
}

TEST(RequestMemory, OneOwnerLeavesRoomForOthers) {
  const auto memory = std::make_shared<RequestMemory>(1000);
  MemoryLease a(memory), b(memory), c(memory);
  a.set_owner("ada");
  b.set_owner("ada");
  c.set_owner("bob");
  EXPECT_TRUE(a.hold(500).ok());
  EXPECT_EQ(b.hold(300).error().code(), ErrorCode::kBusy);
  EXPECT_EQ(b.hold(800).error().code(), ErrorCode::kTooLarge);
  EXPECT_TRUE(b.hold(250).ok());
  EXPECT_EQ(c.hold(188).error().code(), ErrorCode::kBusy);
  EXPECT_TRUE(c.hold(187).ok());
  EXPECT_EQ(memory->take_returned(), 0);
  EXPECT_TRUE(a.hold(100).ok());
  EXPECT_EQ(memory->take_returned(), 400);
  EXPECT_TRUE(b.hold(450).ok());
}

// Goal: owners that each take all they get leave room for one more. Method: each in turn takes
// bytes until it is refused; then somebody new asks for a small and for a fair part.
TEST(RequestMemory, ManyOwnersTogetherLeaveRoomForOthers) {
  for (const int owners : {1, 2, 3, 4}) {
    const auto memory = std::make_shared<RequestMemory>(1'000'000);
    std::vector<std::unique_ptr<MemoryLease>> greedy;
    for (int i = 0; i < owners; ++i) {
      greedy.push_back(std::make_unique<MemoryLease>(memory));
      greedy.back()->set_owner("greedy " + std::to_string(i));
    }
    for (int round = 0; round < 100; ++round)
      for (const auto& one : greedy)
        while (one->add(1000).ok()) {
        }
    const int64_t left = memory->bytes_max() - memory->held();
    EXPECT_GE(left, int64_t{1'000'000} >> (2 * owners)) << owners;
    MemoryLease other(memory);
    other.set_owner("other");
    EXPECT_TRUE(other.hold(left / 2).ok()) << owners;
  }
}

TEST(RequestMemory, ManyThreadsGiveAllBack) {
  const auto memory = std::make_shared<RequestMemory>(100);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int64_t round = 0; round < 10000; ++round) {
        MemoryLease lease(memory);
        for (int64_t bytes = 10; bytes < 60; bytes += 10) static_cast<void>(lease.hold(bytes));
        EXPECT_LE(lease.bytes(), 50);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory->held(), 0);
}

TEST(RequestMemory, DefaultFollowsTheMachine) {
  const int64_t mib = 1 << 20;
  EXPECT_EQ(request_bytes_max(7, 1024 * mib), 7);
  EXPECT_EQ(request_bytes_max(0, 64 * 1024 * mib), 512 * mib);
  EXPECT_EQ(request_bytes_max(0, 1024 * mib), 256 * mib);
  EXPECT_EQ(request_bytes_max(0, 64 * mib), 32 * mib);
  EXPECT_EQ(request_bytes_max(0, 0), 512 * mib);
}

}  // namespace
}  // namespace altlas::server
