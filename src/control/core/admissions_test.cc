// Goal: places are held by tickets, and submissions wait until all their tasks are durable.
#include "control/core/admissions.h"

#include "control/core/core_parts_test.h"

namespace altlas::control {
namespace {

TEST(Admissions, TicketsHoldPlacesUntilTheyAreGivenBack) {
  Admissions one(2);
  one.set_most(10);
  one.grant(7, 0, 3, "ada");
  one.grant(8, 1, 2, "eve");
  EXPECT_EQ(one.promised(), 5u);
  EXPECT_EQ(one.promised(1), 2u);
  one.hold(1, "ada", true);
  one.hold(1, "ada", true);
  one.check_integrity();
  EXPECT_EQ(one.of_owner("ada"), 5u);
  EXPECT_EQ(one.of_owner(1, "ada"), 2u);
  EXPECT_EQ(one.of_owner("eve"), 2u);
  EXPECT_EQ(one.of_owner("bob"), 0u);
  one.give_back(7);
  one.give_back(7);  // Giving a ticket back a second time has no effect.
  one.give_back(99);
  EXPECT_EQ(one.promised(), 2u);
  EXPECT_EQ(one.promised(0), 0u);
  one.hold(1, "ada", false);
  EXPECT_EQ(one.held(), 1u);
  EXPECT_EQ(one.held(0), 0u);
}

TEST(Admissions, ASubmissionIsResolvedOnceAllItsTasksAreDurable) {
  Admissions one(1);
  one.add(5, {.tasks = {1, 2, 3}, .placed = {}, .unresolved = 2});
  EXPECT_TRUE(one.has_submission(5));
  EXPECT_FALSE(one.is_resolved(5));
  one.task_is_durable(5);
  EXPECT_FALSE(one.is_resolved(5));
  one.task_is_durable(5);
  EXPECT_TRUE(one.is_resolved(5));
  EXPECT_EQ(one.take(5).tasks.size(), 3u);
  EXPECT_FALSE(one.is_resolved(5));
}

TEST(Admissions, IsSaved) {
  Admissions one(2);
  one.set_most(10);
  one.grant(7, 1, 3, "ada");
  one.hold(0, "ada", true);
  one.add(5, {.tasks = {1}, .placed = {{TaskId{1, 2}, DeviceId{1}}}, .unresolved = 1});
  expect_saved(one, [] { return std::make_unique<Admissions>(2); });
}

}  // namespace
}  // namespace altlas::control
