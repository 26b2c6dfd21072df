// Goal: keys of forgotten tasks are kept for their time, and one owner's many keys do not push out
// another's. Method: two owners, times as arguments, and what trim() returns.
#include "control/key_book.h"

#include <gtest/gtest.h>

namespace altlas::control {
namespace {

KeyRecord record(uint64_t task, TimeUs accepted, uint64_t body = 7) {
  return {.task = {0, task}, .body_hash = body, .device = DeviceId{0}, .accepted = accepted};
}

std::vector<uint64_t> numbers(const std::vector<TaskId>& tasks) {
  std::vector<uint64_t> out;
  for (const TaskId& task : tasks) out.push_back(task.low);
  return out;
}

TEST(KeyBook, KeepsEachForItsTime) {
  KeyBook book;
  for (uint64_t i = 0; i < 10; ++i)
    book.add(i % 2 == 0 ? "ada" : "bob", "k" + std::to_string(i), record(i, TimeUs(100 * i)));
  EXPECT_EQ(book.size(), 10u);
  EXPECT_EQ(numbers(book.trim(400, 100)), (std::vector<uint64_t>{0, 2, 1, 3}));
  EXPECT_EQ(book.find("ada", "k2"), nullptr);
  ASSERT_NE(book.find("ada", "k4"), nullptr);
  EXPECT_EQ(book.find("ada", "k4")->task.low, 4u);
  EXPECT_EQ(book.find("bob", "k4"), nullptr) << "a key is its owner's";
  EXPECT_TRUE(book.trim(400, 100).empty());
  EXPECT_EQ(numbers(book.trim(5000, 100)), (std::vector<uint64_t>{4, 6, 8, 5, 7, 9}));
  EXPECT_EQ(book.size(), 0u);
}

TEST(KeyBook, WhoeverHasMostLosesTheOldest) {
  KeyBook book;
  book.add("ada", "mine", record(1, 0));
  for (uint64_t i = 0; i < 1000; ++i) {
    book.add("mallory", std::to_string(i), record(100 + i, TimeUs(1000 + i)));
    const auto gone = numbers(book.trim(-1, 50));
    EXPECT_EQ(gone, i < 49 ? std::vector<uint64_t>{} : std::vector<uint64_t>{100 + i - 49});
  }
  EXPECT_EQ(book.size(), 50u);
  ASSERT_NE(book.find("ada", "mine"), nullptr);
}

TEST(KeyBook, TheNewerTaskOfAKeyCounts) {
  KeyBook book;
  EXPECT_FALSE(book.add("", "k", record(1, 10)).has_value());
  EXPECT_EQ(book.add("", "k", record(2, 50, 9))->low, 1u);
  EXPECT_EQ(book.size(), 1u);
  EXPECT_TRUE(book.trim(40, 10).empty());
  EXPECT_EQ(book.find("", "k")->body_hash, 9u);
  EXPECT_EQ(numbers(book.trim(51, 10)), std::vector<uint64_t>{2});
}

}  // namespace
}  // namespace altlas::control
