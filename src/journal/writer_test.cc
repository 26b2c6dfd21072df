#include "journal/writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "journal/metrics.h"
#include "journal/test_events.h"
#include "telemetry/registry.h"

namespace altlas::journal {
namespace {

// A store whose appends wait for the test's permission and fail when told to.
class GatedStore final : public Store {
 public:
  explicit GatedStore(std::unique_ptr<Store> inner) : inner_(std::move(inner)) {}
  Result<void> append(std::span<const TaskEvent> events) override {
    std::unique_lock lock(mutex_);
    ++appends_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    if (fail_) return io_error("disk full");
    return inner_->append(events);
  }
  Result<void> replay(const std::function<Result<void>(TaskEvent)>& visit) override {
    return inner_->replay(visit);
  }
  Result<void> forget(std::span<const TaskId> tasks) override { return inner_->forget(tasks); }
  Result<void> put_value(std::string_view name, std::string_view value) override {
    return inner_->put_value(name, value);
  }
  Result<std::string> get_value(std::string_view name) override { return inner_->get_value(name); }

  void open(bool fail = false) {
    const std::lock_guard lock(mutex_);
    open_ = true;
    fail_ = fail;
    changed_.notify_all();
  }
  void wait_for_appends(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return appends_ >= count; });
  }
  int appends() {
    const std::lock_guard lock(mutex_);
    return appends_;
  }

 private:
  std::unique_ptr<Store> inner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false, fail_ = false;
  int appends_ = 0;
};

std::vector<TaskEvent> one(TimeUs time) { return {event_of(1, time, TaskStarted{})}; }

std::vector<TimeUs> times(Store& store) {
  std::vector<TimeUs> out;
  EXPECT_TRUE(store
                  .replay([&](TaskEvent event) -> Result<void> {
                    out.push_back(event.time);
                    return {};
                  })
                  .ok());
  return out;
}

// Goal: metrics tell what was written, what failed and what waits. Method: the first commit is
// held, then fails; a second one succeeds.
TEST(JournalWriter, Measures) {
  auto gated = std::make_unique<GatedStore>(open_memory_store());
  GatedStore& gate = *gated;
  telemetry::Registry registry;
  JournalWriter writer(std::move(gated), {.metrics = &registry});
  writer.start();
  const auto written = [&](TimeUs time) {
    std::promise<void> done;
    EXPECT_TRUE(writer.append(one(time), [&](const Result<void>&) { done.set_value(); }).ok());
    if (time == 1) {
      gate.wait_for_appends(1);
      EXPECT_EQ(registry.gauge(kWaitingEvents)->value(), 1);
      gate.open(true);
    }
    done.get_future().wait();
  };
  written(1);
  EXPECT_EQ(registry.counter(kFailuresTotal)->value(), 1);
  EXPECT_EQ(registry.counter(kEventsTotal)->value(), 0);
  gate.open(false);
  written(2);
  EXPECT_EQ(registry.counter(kEventsTotal)->value(), 1);
  EXPECT_EQ(registry.gauge(kWaitingEvents)->value(), 0);
  EXPECT_EQ(registry.histogram(kLagSeconds)->snapshot().count, 2u);
  const auto commits = registry.histogram(kCommitSeconds)->snapshot();
  EXPECT_EQ(commits.count, 2u);
  EXPECT_LE(commits.sum, registry.histogram(kLagSeconds)->snapshot().sum);
}

// Goal: what comes while a commit runs shares the next one, in order. Method: hold the first
// commit, send 100.
TEST(JournalWriter, GroupsCommitsAndKeepsOrder) {
  auto gated = std::make_unique<GatedStore>(open_memory_store());
  GatedStore& gate = *gated;
  JournalWriter writer(std::move(gated), {});
  writer.start();
  std::vector<int> answers;  // The writer's thread writes it; it is read after stop().
  ASSERT_TRUE(
      writer.append(one(0), [&](Result<void> done) { answers.push_back(done.ok() ? 0 : -1); })
          .ok());
  gate.wait_for_appends(1);
  for (int i = 1; i <= 100; ++i)
    ASSERT_TRUE(
        writer.append(one(i), [&, i](Result<void> done) { answers.push_back(done.ok() ? i : -1); })
            .ok());
  EXPECT_EQ(writer.stats().waiting_events, 101u);
  gate.open();
  writer.stop();
  ASSERT_EQ(answers.size(), 101u);
  for (int i = 0; i <= 100; ++i) EXPECT_EQ(answers[static_cast<size_t>(i)], i);
  EXPECT_EQ(gate.appends(), 2);
  const WriterStats stats = writer.stats();
  EXPECT_EQ(stats.commits, 2u);
  EXPECT_EQ(stats.events, 101u);
  EXPECT_EQ(stats.waiting_events, 0u);
  EXPECT_EQ(times(writer.store()).size(), 101u);
}

TEST(JournalWriter, FullQueueSaysBusyAtOnce) {
  auto gated = std::make_unique<GatedStore>(open_memory_store());
  GatedStore& gate = *gated;
  WriterOptions options;
  options.requests_max = 4;
  options.events_max = 10;
  JournalWriter writer(std::move(gated), options);
  EXPECT_EQ(writer.append(one(0), {}).error().code(), ErrorCode::kUnavailable) << "before start()";
  writer.start();
  ASSERT_TRUE(writer.append(one(0), {}).ok());
  gate.wait_for_appends(1);
  const auto nine = [] { return std::vector<TaskEvent>(9, one(1)[0]); };
  ASSERT_TRUE(writer.append(nine(), {}).ok());
  const Result<void> events = writer.append(one(2), {});
  ASSERT_FALSE(events.ok());
  EXPECT_EQ(events.error().code(), ErrorCode::kBusy);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(writer.put_value("name", "v", {}).ok());
  EXPECT_EQ(writer.put_value("name", "v", {}).error().code(), ErrorCode::kBusy);
  gate.open();
  writer.stop();
  EXPECT_EQ(times(writer.store()).size(), 10u);
  EXPECT_EQ(writer.append(one(3), {}).error().code(), ErrorCode::kUnavailable);
}

TEST(JournalWriter, FailureReachesEveryCallOfTheGroup) {
  auto gated = std::make_unique<GatedStore>(open_memory_store());
  GatedStore& gate = *gated;
  JournalWriter writer(std::move(gated), {});
  writer.start();
  std::vector<std::string> messages;
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(
        writer
            .append(one(i), [&](Result<void> done) { messages.push_back(done.error().message()); })
            .ok());
  gate.open(/*fail=*/true);
  writer.stop();
  EXPECT_EQ(messages, std::vector<std::string>(5, "disk full"));
  EXPECT_EQ(writer.stats().events, 0u);
  EXPECT_GE(writer.stats().failures, 1u);
}

// A store whose disk is full or has room, as the test says.
class FullStore : public Store {
 public:
  Result<void> append(std::span<const TaskEvent> events) override {
    return full ? io_error("disk full") : inner_->append(events);
  }
  Result<void> replay(const std::function<Result<void>(TaskEvent)>& visit) override {
    return inner_->replay(visit);
  }
  Result<void> forget(std::span<const TaskId> tasks) override { return inner_->forget(tasks); }
  Result<void> put_value(std::string_view name, std::string_view value) override {
    return full ? io_error("no room for a value") : inner_->put_value(name, value);
  }
  Result<std::string> get_value(std::string_view name) override { return inner_->get_value(name); }
  bool room_is_low() const override { return low; }

  std::atomic<bool> full = false, low = false;

 private:
  std::unique_ptr<Store> inner_ = open_memory_store();
};

// Goal: the writer knows that its last write failed until a write succeeds, requests or not; it
// notices that room is low before a request does.
TEST(JournalWriter, KnowsItsFailureAndRecoversWithoutRequests) {
  auto made = std::make_unique<FullStore>();
  FullStore& store = *made;
  JournalWriter writer(std::move(made), {});
  writer.start();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  const auto becomes = [&](std::string_view failure) {
    while (writer.failure() != failure && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    return writer.failure() == failure;
  };
  std::promise<std::string> told;
  store.full = true;
  ASSERT_TRUE(writer.append(one(1), [&](Result<void>) { told.set_value(writer.failure()); }).ok());
  EXPECT_EQ(told.get_future().get(), "disk full") << "known before the request is answered";
  EXPECT_TRUE(becomes("no room for a value")) << "tried again";
  store.full = false;
  EXPECT_TRUE(becomes(""));
  store.full = true;
  store.low = true;
  EXPECT_TRUE(becomes("no room for a value")) << "nobody asked";
  store.full = false;
  EXPECT_TRUE(becomes(""));
  writer.stop();
}

TEST(JournalWriter, ForgetsAndKeepsTheLastValue) {
  JournalWriter writer(open_memory_store(), {});
  writer.start();
  int done = 0;
  const auto count = [&](Result<void> result) { done += result.ok(); };
  ASSERT_TRUE(writer.append(one(1), count).ok());
  ASSERT_TRUE(writer.append({event_of(2, 2, TaskStarted{})}, count).ok());
  ASSERT_TRUE(writer.forget({task_id(1)}, count).ok());
  ASSERT_TRUE(writer.put_value("count", "1", count).ok());
  ASSERT_TRUE(writer.put_value("count", "2", count).ok());
  writer.stop();
  EXPECT_EQ(done, 5);
  EXPECT_EQ(times(writer.store()), std::vector<TimeUs>{2});
  EXPECT_EQ(writer.store().get_value("count").value(), "2");
}

// Goal: a commit's size is limited. Method: 10 waiting requests of 4 events, 8 events a commit.
TEST(JournalWriter, LimitsACommit) {
  auto gated = std::make_unique<GatedStore>(open_memory_store());
  GatedStore& gate = *gated;
  WriterOptions options;
  options.commit_events_max = 8;
  JournalWriter writer(std::move(gated), options);
  writer.start();
  ASSERT_TRUE(writer.append(one(0), {}).ok());
  gate.wait_for_appends(1);
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(writer.append(std::vector<TaskEvent>(4, one(i)[0]), {}).ok());
  gate.open();
  writer.stop();
  EXPECT_EQ(gate.appends(), 6);
  EXPECT_EQ(times(writer.store()).size(), 41u);
}

}  // namespace
}  // namespace altlas::journal
