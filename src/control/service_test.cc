// Goal: the service carries a task from admission to its end over a real strand, journal and
// launcher, and comes back after a restart. Method: the echo deployment in this process, a memory
// or SQLite journal, a thread for the context.
#include "control/service.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <filesystem>
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

struct Running {
  explicit Running(std::unique_ptr<journal::Store> store, std::string folder = "") {
    ServiceOptions options;
    options.setup = echo_setup();
    options.store = std::move(store);
    options.folder = std::move(folder);
    options.in_process_workers = true;
    auto made = make_service(context, std::move(options));
    ALTLAS_CHECK(made.ok(), made.error().message());
    service = std::move(*made);
    ALTLAS_CHECK(service->start().ok(), "it starts");
  }
  ~Running() {
    service->stop(5000);
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
  TaskView echo(const std::string& payload, bool durable) {
    AdmissionRequested request;
    auto admission = get(service->admit(request));
    ALTLAS_CHECK(admission.ok(), admission.error().message());
    TaskSpec spec;
    spec.deployment = "echo";
    spec.payload = payload;
    spec.durable = durable;
    auto placed = get(service->submit(std::move(*admission), {spec}, true));
    ALTLAS_CHECK(placed.ok(), placed.error().message());
    auto view = get(service->wait(placed->at(0).task, 10'000));
    ALTLAS_CHECK(view.ok(), view.error().message());
    return *view;
  }

  asio::io_context context;
  asio::executor_work_guard<asio::io_context::executor_type> guard{context.get_executor()};
  std::unique_ptr<Service> service;
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

}  // namespace
}  // namespace altlas::control
