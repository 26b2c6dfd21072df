// Tasks that move between devices while they wait. Method: the core alone.
#include <gtest/gtest.h>

#include <vector>

#include "control/test_harness.h"

namespace altlas::control {
namespace {

// Goal: a task that waits beside replicas whose places are taken by cancelled runs stays where it
// is until one of them has ended: what is cancelled keeps its place until its worker says so.
// Before: it moved 2,048 times to and fro with each event.
TEST(CoreMoves, ATaskDoesNotGoToAndFroBetweenDevices) {
  struct Row {
    uint32_t places;  // The places of each replica.
    size_t canceled;  // How many of the running tasks are cancelled, from the first one on.
    size_t ends;      // Which of the cancelled runs ends at last.
  };
  for (const Row& row : {Row{1, 2, 1}, Row{2, 3, 0}, Row{4, 8, 7}}) {
    CoreSetup setup = test_setup(2, row.places);
    setup.max_concurrent_tasks = 0;
    CoreHarness h(setup);
    h.start();
    std::vector<TaskId> running;
    for (uint32_t i = 0; i < 2 * row.places; ++i) running.push_back(h.one(h.spec()).task);
    ASSERT_EQ(h.runs.size(), running.size());
    for (size_t i = 0; i < row.canceled; ++i) h.step(CancelRequested{running[i]});
    const TaskId waits = h.one(h.spec()).task;
    for (int i = 0; i < 20; ++i) h.step(Tick{});
    h.alive();
    EXPECT_EQ(h.view(waits).status, TaskStatus::kQueued);
    EXPECT_LE(h.core.story_size(waits).moves, 1u);
    EXPECT_EQ(h.runs.size(), running.size());
    h.core.check_integrity();
    h.finish(h.runs[row.ends]);
    ASSERT_EQ(h.runs.size(), running.size() + 1) << "it starts on the place that became free";
    EXPECT_LE(h.core.story_size(waits).moves, 1u);
    h.core.check_integrity();
  }
}

}  // namespace
}  // namespace altlas::control
