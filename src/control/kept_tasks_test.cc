#include "control/kept_tasks.h"

#include <gtest/gtest.h>

#include <vector>

namespace altlas::control {
namespace {

TEST(KeptTasks, WhoHasMostLosesTheOldest) {
  KeptTasks kept;
  kept.push("ada", 1, 10);
  for (uint64_t number = 2; number < 7; ++number) kept.push("bob", number, 10);
  kept.push("eve", 7, 10);
  kept.push("eve", 8, 10);
  EXPECT_EQ(kept.bytes(), 80u);
  std::vector<uint64_t> gone;
  while (kept.size() > 3) gone.push_back(kept.pop());
  // Bob's tasks go first, then those of the two owners who have two each.
  EXPECT_EQ(gone, (std::vector<uint64_t>{2, 3, 4, 5, 7}));
  kept.push("ada", 9, 10);
  EXPECT_EQ(kept.pop(), 1u);
}

TEST(KeptTasks, WhoHoldsMostLosesTheOldest) {
  KeptTasks kept;
  for (uint64_t number = 0; number < 100; ++number) kept.push("ada", number, 10);
  for (uint64_t number = 200; number < 205; ++number) kept.push("bob", number, 1000);
  kept.push("eve", 300, 900);
  std::vector<uint64_t> gone;
  while (kept.bytes() > 3000) gone.push_back(kept.pop_of_largest());
  EXPECT_EQ(gone, (std::vector<uint64_t>{200, 201, 202, 203}));
  EXPECT_EQ(kept.size(), 102u);
  for (int i = 0; i < 4; ++i) gone.push_back(kept.pop_of_largest());
  EXPECT_EQ(gone, (std::vector<uint64_t>{200, 201, 202, 203, 0, 204, 1, 2}));
  EXPECT_EQ(kept.bytes(), 1870u);
}

TEST(KeptTasks, OneOwnersAreForgottenInOrder) {
  KeptTasks kept;
  for (uint64_t number = 0; number < 100; ++number) kept.push("", number, 10);
  for (uint64_t number = 0; number < 100; ++number) EXPECT_EQ(kept.pop(), number);
  EXPECT_EQ(kept.size(), 0u);
  EXPECT_EQ(kept.bytes(), 0u);
}

}  // namespace
}  // namespace altlas::control
