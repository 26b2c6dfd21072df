#include "engine/hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

namespace altlas::engine {
namespace {

// Goal: each kind answers behind the one interface. Method: kind echo needs no model.
TEST(Hosts, EchoAnswersAndABadModelEnds) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Report> reports;
  std::optional<Error> ended;
  const auto on_report = [&](Report report) {
    const std::lock_guard lock(mutex);
    if (!std::holds_alternative<ReplicaStats>(report)) reports.push_back(std::move(report));
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
  LoadReplica load;
  load.kind = "echo";
  load.ranks = {{.device_spec = "cpu:1:1:1GiB"}};
  const auto echo = make_host();
  echo->start(load, on_report, on_end);
  SubmitSequence submit;
  submit.sequence = SequenceId{5};
  submit.prompt.add_payload("{\"a\": 1}", 0);
  ASSERT_TRUE(echo->command(submit));
  ASSERT_TRUE(wait([&] {
    return ended || (!reports.empty() && std::holds_alternative<SequenceFinished>(reports.back()));
  }));
  ASSERT_FALSE(ended) << ended->message();
  EXPECT_EQ(std::get<SequenceFinished>(reports.back()).sequence, SequenceId{5});
  echo->stop();
  reports.clear();
  load.kind = "model";
  load.model_path = "/nothing/here.gguf";
  const auto broken = make_host();
  broken->start(load, on_report, on_end);
  ASSERT_TRUE(wait([&] { return ended.has_value(); }));
  EXPECT_TRUE(std::holds_alternative<LoadFailed>(reports.back()));
  broken->stop();
}

// Goal: a replica of a kind that is not registered fails with the kind's name and the known ones,
// and ignores commands until it is stopped; every registered kind has a host.
TEST(Hosts, UnknownKindsFail) {
  std::vector<Report> reports;
  std::optional<Error> ended;
  const auto host = make_host();
  LoadReplica load;
  load.kind = "video";
  host->start(
      load, [&](Report report) { reports.push_back(std::move(report)); },
      [&](Error error) { ended = std::move(error); });
  ASSERT_EQ(reports.size(), 1u);
  const auto& failed = std::get<LoadFailed>(reports[0]);
  EXPECT_EQ(failed.code, ErrorCode::kInvalid);
  EXPECT_EQ(failed.message, "replica kind 'video'; known are: model, echo");
  EXPECT_TRUE(ended);
  EXPECT_TRUE(host->command(SubmitSequence{}));
  host->stop();
  EXPECT_EQ(reports.size(), 1u);
  for (const EngineKind& kind : engine_kinds()) EXPECT_NE(kind.make(), nullptr) << kind.name;
}

}  // namespace
}  // namespace altlas::engine
