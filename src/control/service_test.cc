// Goal: the service carries a task from admission to its end over a real strand, journal and
// launcher, and comes back after a restart. Method: the echo deployment in this process, a memory
// or SQLite journal, a thread for the context.
#include "control/service.h"
#include "control/subscription.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "control/event_log.h"
#include "control/test_harness.h"
#include "journal/store.h"

namespace altlas::control {
namespace {

namespace asio = boost::asio;

CoreSetup echo_setup() {
  CoreSetup setup = test_setup(1);
  setup.deployments.erase(setup.deployments.begin());
  setup.default_deployment = "echo";
  return setup;
}

// Replicas that load at once, and answer when the test says so.
class HeldReplicas : public Launcher {
 public:
  Result<void> open(uint64_t) override { return {}; }
  void start(WorkerId worker, engine::LoadReplica) override {
    worker_ = worker;
    callbacks.connected(worker, 0);
    engine::ReplicaLoaded loaded;
    loaded.sequences_max = sequences_max;
    callbacks.report(worker, loaded);
  }
  void send(WorkerId, engine::Command command) override {
    if (const auto* run = std::get_if<engine::SubmitSequence>(&command)) {
      const std::lock_guard lock(mutex_);
      runs_.push_back(run->sequence);
    }
  }
  void stop(WorkerId worker, bool kill) override {
    if (!kill) callbacks.lost(worker, "stopped");
  }
  void shutdown() override {}
  // Ends all running tasks, in the order of their starts.
  size_t finish_all() {
    std::vector<SequenceId> runs;
    {
      const std::lock_guard lock(mutex_);
      runs.swap(runs_);
    }
    for (const SequenceId sequence : runs) {
      TaskResult result;
      result.text = "done";
      result.finish_reason = FinishReason::kStop;
      callbacks.report(worker_, engine::SequenceFinished{sequence, result});
    }
    return runs.size();
  }
  // Every running task says `count` pieces of `text`.
  void say(const std::string& text, uint32_t count) {
    const std::lock_guard lock(mutex_);
    for (const SequenceId sequence : runs_)
      for (uint32_t i = 0; i < count; ++i)
        callbacks.report(
            worker_,
            engine::SequenceTokens{
                sequence,
                {.first_index = i, .ids = {1}, .text_offset = i * text.size(), .text = text}});
  }
  LauncherCallbacks callbacks;
  uint32_t sequences_max = 0;

 private:
  WorkerId worker_;
  std::mutex mutex_;
  std::vector<SequenceId> runs_;
};

// A memory journal that holds back every task's end until the test lets it go.
class HeldStore : public journal::Store {
 public:
  Result<void> append(std::span<const journal::TaskEvent> events) override {
    std::unique_lock lock(mutex_);
    const auto is_end = [](const journal::TaskEvent& event) { return event.what.index() >= 3; };
    if (std::ranges::any_of(events, is_end)) open_.wait(lock, [&] { return !held_; });
    return inner_->append(events);
  }
  Result<void> replay(const std::function<Result<void>(journal::TaskEvent)>& visit) override {
    return inner_->replay(visit);
  }
  Result<void> forget(std::span<const TaskId> tasks) override { return inner_->forget(tasks); }
  Result<void> put_value(std::string_view name, std::string_view value) override {
    return inner_->put_value(name, value);
  }
  Result<std::string> get_value(std::string_view name) override { return inner_->get_value(name); }
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    open_.notify_all();
  }

 private:
  std::unique_ptr<journal::Store> inner_ = journal::open_memory_store();
  std::mutex mutex_;
  std::condition_variable open_;
  bool held_ = false;
};

// A memory journal whose disk is full while the test says so.
class FullStore : public HeldStore {
 public:
  explicit FullStore(std::shared_ptr<std::atomic<bool>> full) : full_(std::move(full)) {}
  Result<void> append(std::span<const journal::TaskEvent> events) override {
    return *full_ ? io_error("disk full") : HeldStore::append(events);
  }
  Result<void> put_value(std::string_view name, std::string_view value) override {
    return *full_ ? io_error("disk full") : HeldStore::put_value(name, value);
  }

 private:
  const std::shared_ptr<std::atomic<bool>> full_;
};

struct Running {
  // `held` takes the place of this process' replicas; the service owns it.
  explicit Running(std::unique_ptr<journal::Store> store, std::string folder = "",
                   HeldReplicas* held = nullptr, CoreSetup setup = echo_setup(),
                   uint64_t stream_buffer_bytes_max = 1 << 20,
                   uint64_t event_log_bytes_max = 64 << 20) {
    ServiceOptions options;
    options.stream_buffer_bytes_max = stream_buffer_bytes_max;
    options.event_log_bytes_max = event_log_bytes_max;
    options.setup = std::move(setup);
    options.store = std::move(store);
    options.folder = std::move(folder);
    options.in_process_workers = true;
    if (held != nullptr)
      options.launcher = [held](LauncherCallbacks callbacks) {
        held->callbacks = std::move(callbacks);
        return std::unique_ptr<Launcher>(held);
      };
    auto made = make_service(context, std::move(options));
    ALTLAS_CHECK(made.ok(), made.error().message());
    service = std::move(*made);
    ALTLAS_CHECK(service->start().ok(), "it starts");
  }
  ~Running() {
    service->stop(patience_ms);
    guard.reset();
    context.stop();
    thread.join();
  }
  template <class T>
  T get(asio::awaitable<T> what) {
    auto out = std::make_shared<std::optional<T>>();
    asio::co_spawn(context, fill(std::move(what), out), asio::use_future).get();
    return std::move(**out);
  }
  template <class T>
  static asio::awaitable<void> fill(asio::awaitable<T> what,
                                    std::shared_ptr<std::optional<T>> out) {
    out->emplace(co_await std::move(what));
  }
  Admission admission(uint32_t tasks = 1) {
    AdmissionRequested request;
    request.tasks = tasks;
    auto out = get(service->admit(request));
    ALTLAS_CHECK(out.ok(), out.error().message());
    return std::move(*out);
  }
  static TaskSpec spec(const std::string& payload, bool durable) {
    TaskSpec out;
    out.deployment = "echo";
    out.prompt.add_payload(payload, 0);
    out.durable = durable;
    return out;
  }
  std::vector<OwnedTask> own(std::vector<TaskSpec> specs) {
    Admission places = admission(static_cast<uint32_t>(specs.size()));
    auto owned = get(service->submit_owned(std::move(places), std::move(specs)));
    ALTLAS_CHECK(owned.ok(), owned.error().message());
    return std::move(*owned);
  }
  // Returns the end of an owned task.
  Result<TaskView> end_of(const OwnedTask& task) {
    while (true) {
      auto event = get(task.answer->next());
      if (!event.ok()) return event.error();
      if (event->end) return *event->end;
    }
  }
  TaskView echo(const std::string& payload, bool durable) {
    Admission place = admission();
    auto placed = get(service->submit(std::move(place), {spec(payload, durable)}, true));
    ALTLAS_CHECK(placed.ok(), placed.error().message());
    auto view = get(service->wait(placed->at(0).task, 10'000));
    ALTLAS_CHECK(view.ok(), view.error().message());
    return *view;
  }

  asio::io_context context;
  asio::executor_work_guard<asio::io_context::executor_type> guard{context.get_executor()};
  std::unique_ptr<Service> service;
  // The time that stop() gives to tasks that still run at the end of the test.
  int64_t patience_ms = 5000;
  std::thread thread{[this] { context.run(); }};
};

TEST(Service, CarriesAnEchoFromAdmissionToItsEnd) {
  Running running(journal::open_memory_store());
  const TaskView view = running.echo("{\"a\":1}", /*durable=*/false);
  EXPECT_EQ(view.status, TaskStatus::kCompleted) << view.error;
  ASSERT_TRUE(view.result.has_value());
  EXPECT_NE(view.result->text.find("\"a\":1"), std::string::npos) << view.result->text;
  EXPECT_EQ(running.service->health().status, HealthStatus::kOk);
  const auto missing = running.get(running.service->task(TaskId{1, 2}));
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
}

TEST(Service, AFinishedTaskIsKnownAfterARestartAndTheLogReplays) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "altlas-service-test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::string database = (folder / "journal.db").string();
  TaskId id;
  {
    Running running(std::move(*journal::open_sqlite_store(database)), folder.string());
    const TaskView view = running.echo("{}", /*durable=*/true);
    ASSERT_EQ(view.status, TaskStatus::kCompleted) << view.error;
    id = view.id;
    const auto twice = running.get(running.service->cancel(id));
    EXPECT_EQ(twice.error().code(), ErrorCode::kConflict);
  }
  Running running(std::move(*journal::open_sqlite_store(database)), folder.string());
  const auto again = running.get(running.service->wait(id, 1000));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->status, TaskStatus::kCompleted);
  auto stream = running.get(running.service->subscribe(id));
  ASSERT_TRUE(stream.ok());
  const auto event = running.get((*stream)->next());
  EXPECT_TRUE(event->end.has_value());
  EXPECT_TRUE(replay_event_log((folder / "control.events.1").string()).ok());
}

// Goal: a task that memory has forgotten is explained from the event log: from both of its files
// and after a restart. Method: a server that keeps no task, and a log that is soon full.
TEST(Service, ExplainsTasksThatMemoryForgot) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "altlas-explain-test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::string database = (folder / "journal.db").string();
  CoreSetup setup = echo_setup();
  setup.tasks_kept_max = 0;
  constexpr uint64_t kSmallLog = 96 << 10;
  const auto expect_known = [](Running& running, const TaskId& id) {
    EXPECT_FALSE(running.get(running.service->task(id)).ok());
    const auto story = running.get(running.service->explain(id));
    ASSERT_TRUE(story.ok()) << story.error().message();
    EXPECT_EQ(story->choice->task, id);
    EXPECT_FALSE(story->choice->reason.empty());
  };
  const auto run_one = [](Running& running) {
    const OwnedTask task = running.own({Running::spec("{}", /*durable=*/true)}).front();
    EXPECT_TRUE(running.end_of(task).ok());
    return task.id;
  };
  // Runs a task that is over and forgotten afterwards, since others came after it.
  const auto run_forgotten = [&](Running& running) {
    const TaskId id = run_one(running);
    while (running.get(running.service->task(id)).ok()) run_one(running);
    return id;
  };
  TaskId first, last;
  {
    Running running(std::move(*journal::open_sqlite_store(database)), folder.string(), nullptr,
                    setup, 1 << 20, kSmallLog);
    first = run_forgotten(running);
    expect_known(running, first);
    while (!std::filesystem::exists(folder / "control.events.1")) {
      run_one(running);
      expect_known(running, first);
    }
    last = run_forgotten(running);
    expect_known(running, first);  // Its choice is in the older file.
    expect_known(running, last);
    const auto unknown = running.get(running.service->explain(TaskId{1, 2}));
    EXPECT_EQ(unknown.error().code(), ErrorCode::kNotFound);
  }
  Running running(std::move(*journal::open_sqlite_store(database)), folder.string(), nullptr, setup,
                  1 << 20, kSmallLog);
  expect_known(running, last);
  EXPECT_EQ(running.get(running.service->explain(first)).error().code(), ErrorCode::kNotFound);
}

// Goal: health is what a request would meet. Method: a journal that can't be written, then can
// again.
TEST(Service, HealthIsWhatADurableTaskMeets) {
  const auto full = std::make_shared<std::atomic<bool>>(false);
  Running running(std::make_unique<FullStore>(full));
  EXPECT_EQ(running.echo("{}", /*durable=*/true).status, TaskStatus::kCompleted);
  *full = true;
  Admission place = running.admission();
  EXPECT_FALSE(
      running.get(running.service->submit(std::move(place), {Running::spec("{}", true)}, true))
          .ok());
  EXPECT_EQ(running.service->health().status, HealthStatus::kUnavailable);
  EXPECT_NE(running.service->health().message.find("disk full"), std::string::npos);
  *full = false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (running.service->health().status != HealthStatus::kOk &&
         std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  EXPECT_EQ(running.service->health().status, HealthStatus::kOk);
  EXPECT_EQ(running.echo("{}", /*durable=*/true).status, TaskStatus::kCompleted);
}

// Goal: an answer stays until its owner has taken it, whatever has ended meanwhile. Method: more
// answers left unread than finished tasks are kept, one by one and in lists of other sizes.
TEST(Service, AnOwnedAnswerStaysUntilItIsTaken) {
  Running running(journal::open_memory_store());
  for (const size_t list : {1u, 7u, 50u}) {
    std::vector<std::vector<OwnedTask>> unread;
    for (size_t made = 0; made < 2 * kPassingTasksMax; made += list) {
      std::vector<TaskSpec> specs;
      for (size_t i = 0; i < list; ++i)
        specs.push_back(Running::spec(std::to_string(1'000'000 + made + i), false));
      unread.push_back(running.own(std::move(specs)));
    }
    // Other tasks pass by, durable or not.
    for (int i = 0; i < 20; ++i) running.echo("{}", i % 2 == 0);
    size_t number = 0;
    for (const auto& tasks : unread) {
      for (const OwnedTask& task : tasks) {
        const auto view = running.end_of(task);
        ASSERT_TRUE(view.ok()) << view.error().message();
        ASSERT_EQ(view->status, TaskStatus::kCompleted) << view->error;
        EXPECT_NE(view->result->text.find(std::to_string(1'000'000 + number++)), std::string::npos);
      }
    }
  }
}

// Goal: what nobody will read is not computed. Method: owned tasks that run until the test ends
// them; some are dropped, the others go on.
TEST(Service, AnOwnedTaskEndsWithItsOwner) {
  auto* replicas = new HeldReplicas;
  replicas->sequences_max = 2;  // The third task waits.
  Running running(journal::open_memory_store(), "", replicas);
  auto kept = running.own({Running::spec("{}", false), Running::spec("{}", false)});
  const auto dropped = running.own({Running::spec("{}", false)}).front().id;
  const auto view = running.get(running.service->wait(dropped, 10'000));
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->status, TaskStatus::kCanceled);
  const TaskId second = kept[1].id;
  kept.pop_back();
  EXPECT_EQ(running.get(running.service->wait(second, 10'000))->status, TaskStatus::kCanceled);
  EXPECT_FALSE(is_over(running.get(running.service->task(kept[0].id))->status));
  replicas->finish_all();
  EXPECT_EQ(running.end_of(kept[0])->result->text, "done");
}

// Goal: a stream that is not read is given up beyond its limit, not before. Method: 40 pieces of
// 100 bytes against limits on both sides of their sum.
TEST(Service, AStreamThatIsNotReadIsGivenUp) {
  for (const auto& [limit, kept] : {std::pair<uint64_t, bool>{3000, false}, {100'000, true}}) {
    auto* replicas = new HeldReplicas;
    Running running(journal::open_memory_store(), "", replicas, echo_setup(), limit);
    const auto owned = running.own({Running::spec("{}", false)});
    auto stream = running.get(running.service->subscribe(owned[0].id));
    ASSERT_TRUE(stream.ok()) << stream.error().message();
    replicas->say(std::string(100, 'x'), 40);
    replicas->finish_all();
    ASSERT_TRUE(running.get(running.service->wait(owned[0].id, 10'000)).ok());
    Result<StreamEvent> event = running.get((*stream)->next());
    while (event.ok() && !event->end) event = running.get((*stream)->next());
    EXPECT_EQ(event.ok(), kept) << limit;
    if (!kept) EXPECT_EQ(event.error().code(), ErrorCode::kBusy);
  }
}

// Goal: everything that an unread stream holds counts. Method: deltas of each kind until the reader
// is given up, which frees their memory; a reader that keeps up takes any number, and a large one.
TEST(Service, EverythingThatAnUnreadStreamHoldsCounts) {
  asio::io_context context;
  const Strand strand = asio::make_strand(context);
  constexpr uint64_t kLimit = 100'000;
  TokenLogprobs likely;
  likely.top.resize(20);
  StreamEvent texts, ids, logprobs, prompts;
  texts.delta.text = std::string(500, 'x');
  ids.delta.ids.resize(300);
  logprobs.delta.logprobs = {likely, likely};
  prompts.delta.prompt_logprobs.assign(10, likely);
  for (const StreamEvent* each : {&texts, &ids, &logprobs, &prompts}) {
    Inbox unread(strand);
    uint64_t most = 0;
    for (int i = 0; i < 1000 && !unread.overflowed; ++i) {
      unread.put(*each, kLimit);
      most = std::max(most, unread.bytes);
    }
    EXPECT_TRUE(unread.overflowed);
    EXPECT_LE(most, kLimit + 2 * held_bytes(*each));
    EXPECT_TRUE(unread.events.empty());
    Inbox read(strand);
    for (int i = 0; i < 1000; ++i) {
      read.put(*each, kLimit);
      read.take();
    }
    EXPECT_FALSE(read.overflowed);
    EXPECT_EQ(read.bytes, 0u);
  }
}

// Goal: one event that is larger than the limit comes through, whatever follows it. Method: each
// kind of large event, with other events and the end around it, and nobody reads.
TEST(Service, OneLargeEventOfAStreamComesThrough) {
  asio::io_context context;
  const Strand strand = asio::make_strand(context);
  constexpr uint64_t kLimit = 100'000;
  TokenLogprobs likely;
  likely.top.resize(20);
  StreamEvent small, text, ids, prompts, end;
  small.delta.text = "x";
  text.delta.text = std::string(3 * kLimit, 'x');
  ids.delta.ids.resize(kLimit);
  prompts.delta.prompt_logprobs.assign(10'000, likely);
  end.end.emplace();
  for (const StreamEvent* large : {&text, &ids, &prompts}) {
    const std::vector<const StreamEvent*> orders[] = {
        {large, &end}, {large, &small, &end}, {&small, large, &end}, {large, &small, &small, &end}};
    for (const auto& order : orders) {
      Inbox inbox(strand);
      for (const StreamEvent* event : order) inbox.put(*event, kLimit);
      ASSERT_FALSE(inbox.overflowed);
      for (const StreamEvent* event : order)
        EXPECT_EQ(held_bytes(inbox.take()), held_bytes(*event));
      EXPECT_EQ(inbox.bytes, 0u);
    }
    Inbox unread(strand);
    for (int i = 0; i < 4; ++i) unread.put(*large, kLimit);
    EXPECT_TRUE(unread.overflowed);
  }
}

// Goal: whoever waits for a task is told its end, even if the core forgets it at once. Method:
// hundreds of tasks end together where none are kept, and the waiters came before.
TEST(Service, AWaiterIsToldTheEndOfATaskThatIsForgotten) {
  for (const bool durable : {true, false}) {
    CoreSetup setup = echo_setup();
    setup.tasks_kept_max = 0;
    const uint32_t count = 3 * kPassingTasksMax;
    auto* replicas = new HeldReplicas;
    replicas->sequences_max = count;
    Running running(journal::open_memory_store(), "", replicas, setup);
    std::vector<TaskId> ids;
    for (uint32_t i = 0; i < count; ++i) {
      Admission place = running.admission();
      const auto placed = running.get(
          running.service->submit(std::move(place), {Running::spec("{}", durable)}, true));
      ASSERT_TRUE(placed.ok()) << placed.error().message();
      ids.push_back(placed->front().task);
    }
    std::vector<std::future<void>> waits;
    std::vector<std::shared_ptr<std::optional<Result<TaskView>>>> views;
    for (const TaskId id : ids) {
      views.push_back(std::make_shared<std::optional<Result<TaskView>>>());
      waits.push_back(asio::co_spawn(running.context,
                                     Running::fill(running.service->wait(id, 60'000), views.back()),
                                     asio::use_future));
    }
    // It is handled after the waits that are on the strand.
    running.get(running.service->strategy());
    EXPECT_EQ(replicas->finish_all(), count);
    for (std::future<void>& wait : waits) wait.get();
    for (const auto& view : views) {
      ASSERT_TRUE((*view)->ok()) << (*view)->error().message();
      EXPECT_EQ((**view)->status, TaskStatus::kCompleted);
    }
    EXPECT_EQ(running.get(running.service->task(ids.front())).error().code(), ErrorCode::kNotFound);
  }
}

// Goal: what a cancellation answers is what everybody sees next. Method: the end is held back on
// its way to the journal, of tasks that run, wait, have finished, or are cancelled twice.
TEST(Service, ACancellationIsAnsweredWhenItShows) {
  enum class Before { kRuns, kWaits, kFinished, kCanceled };
  for (const Before before :
       {Before::kRuns, Before::kWaits, Before::kFinished, Before::kCanceled}) {
    auto* store = new HeldStore;
    auto* replicas = new HeldReplicas;
    replicas->sequences_max = 1;
    Running running(std::unique_ptr<journal::Store>(store), "", replicas);
    running.patience_ms = 0;
    std::vector<TaskId> ids;
    for (int i = 0; i < 2; ++i) {
      Admission place = running.admission();
      const auto placed =
          running.get(running.service->submit(std::move(place), {Running::spec("{}", true)}, true));
      ASSERT_TRUE(placed.ok());
      ids.push_back(placed->front().task);
    }
    const TaskId id = ids[before == Before::kWaits ? 1 : 0];
    store->hold(true);
    if (before == Before::kFinished) EXPECT_EQ(replicas->finish_all(), 1u);
    if (before == Before::kCanceled) running.service->cancel_soon(id);
    const auto answer = std::make_shared<std::optional<Result<void>>>();
    auto done = asio::co_spawn(running.context, Running::fill(running.service->cancel(id), answer),
                               asio::use_future);
    EXPECT_FALSE(is_over(running.get(running.service->task(id))->status));
    EXPECT_FALSE(answer->has_value()) << "answered before it shows";
    store->hold(false);
    done.get();
    const TaskStatus status = running.get(running.service->task(id))->status;
    EXPECT_EQ(status, before == Before::kFinished ? TaskStatus::kCompleted : TaskStatus::kCanceled);
    const bool first = before == Before::kRuns || before == Before::kWaits;
    EXPECT_EQ((*answer)->ok(), first);
    if (!first) EXPECT_EQ((*answer)->error().code(), ErrorCode::kConflict);
  }
}

}  // namespace
}  // namespace altlas::control
