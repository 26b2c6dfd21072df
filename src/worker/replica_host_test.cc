#include "worker/replica_host.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

namespace altlas::worker {
namespace {

// Goal: the real engine answers behind the worker's interface. Method: kind echo needs no model.
TEST(ReplicaHost, EchoAnswersAndABadModelEnds) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<engine::Report> reports;
  std::optional<Error> ended;
  const auto on_report = [&](engine::Report report) {
    const std::lock_guard lock(mutex);
    if (!std::holds_alternative<engine::ReplicaStats>(report)) reports.push_back(std::move(report));
    changed.notify_all();
  };
  const auto on_end = [&](Error error) {
    const std::lock_guard lock(mutex);
    ended = std::move(error);
    changed.notify_all();
  };
  const auto wait = [&](auto condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), condition);
  };
  engine::LoadReplica load;
  load.kind = "echo";
  load.device_spec = "cpu:1:1:1GiB";
  load.device_ids = {0};
  load.cpu_first = {0};
  load.ranks = {0};
  const auto echo = make_replica_host();
  echo->start(load, on_report, on_end);
  engine::SubmitSequence submit;
  submit.sequence = SequenceId{5};
  submit.payload = "{\"a\": 1}";
  ASSERT_TRUE(echo->command(submit));
  ASSERT_TRUE(wait([&] {
    return ended ||
           (!reports.empty() && std::holds_alternative<engine::SequenceFinished>(reports.back()));
  }));
  ASSERT_FALSE(ended) << ended->message();
  EXPECT_EQ(std::get<engine::SequenceFinished>(reports.back()).sequence, SequenceId{5});
  echo->stop();
  reports.clear();
  load.kind = "model";
  load.model_path = "/nothing/here.gguf";
  const auto broken = make_replica_host();
  broken->start(load, on_report, on_end);
  ASSERT_TRUE(wait([&] { return ended.has_value(); }));
  EXPECT_TRUE(std::holds_alternative<engine::LoadFailed>(reports.back()));
  broken->stop();
}

}  // namespace
}  // namespace altlas::worker
