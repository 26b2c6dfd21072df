// Tests of the link, the worker loop and worker processes together, with a fake engine.
#include "worker/link.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <thread>

#include "worker/frames.h"
#include "worker/host.h"
#include "worker/spawn.h"

namespace altlas::worker {
namespace {
using namespace std::chrono_literals;

constexpr WorkerId kWorker{ReplicaId{3}};

// Answers each sequence with its number of prompt tokens, from the caller's thread. The payload
// "flood" makes it report 20,000 deltas from a thread of its own; "hang" makes stop() hang.
class FakeHost final : public EngineHost {
 public:
  ~FakeHost() override {
    if (flood_.joinable()) flood_.join();
  }
  void start(engine::LoadReplica load, ReportSink report, EndSink ended) override {
    report_ = std::move(report);
    report_(engine::LoadProgress{"weights", 1});
    if (load.model_path == "missing") {
      report_(engine::LoadFailed{ErrorCode::kNotFound, "no such file"});
      return ended(not_found("no such file"));
    }
    engine::ReplicaLoaded loaded;
    loaded.sequences_max = 7;
    report_(loaded);
  }
  bool command(engine::Command&& command) override {
    if (++offered_ % 100 == 0) return false;  // It is full now and then.
    if (const auto* submit = std::get_if<engine::SubmitSequence>(&command)) {
      const std::string& payload = submit->prompt.payloads().at(0).content;
      if (payload == "hang") hang_ = true;
      if (payload == "flood") {
        flood_ = std::thread([report = report_, sequence = submit->sequence] {
          for (uint32_t i = 0; i < 20'000; ++i)
            report(engine::SequenceTokens{sequence,
                                          TokenDelta{i, {static_cast<int32_t>(i)}, i, "x", {}}});
          report(engine::SequenceFinished{sequence, {}});
        });
        return true;
      }
      TaskResult result;
      result.tokens = static_cast<uint32_t>(submit->prompt.size());
      result.text = payload;
      report_(engine::SequenceFinished{submit->sequence, result});
    }
    if (std::holds_alternative<engine::DrainReplica>(command)) report_(engine::ReplicaDrained{});
    return true;
  }
  void stop() override {
    if (hang_) std::this_thread::sleep_for(60s);
    stopped = true;
  }
  std::atomic<bool> stopped = false;

 private:
  ReportSink report_;
  std::atomic<bool> hang_ = false;
  int offered_ = 0;
  std::thread flood_;
};

// What the server has seen; tests wait for it.
class Seen {
 public:
  LinkCallbacks callbacks() {
    LinkCallbacks callbacks;
    callbacks.connected = [this](WorkerId, int32_t pid) { change([&] { connected_pid = pid; }); };
    callbacks.report = [this](WorkerId, engine::Report report) {
      change([&] { reports.push_back(std::move(report)); });
    };
    callbacks.lost = [this](WorkerId, std::string reason) {
      change([&] { lost = std::move(reason); });
    };
    return callbacks;
  }
  void on_exit(ProcessExit exit) {
    change([&] { exited = std::move(exit); });
  }
  template <class F>
  bool wait(F condition, std::chrono::milliseconds timeout = 20s) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, condition);
  }

  // These are read inside wait()'s condition, or after the writers are done.
  std::optional<int32_t> connected_pid;
  std::vector<engine::Report> reports;
  std::optional<std::string> lost;
  std::optional<ProcessExit> exited;

 private:
  template <class F>
  void change(F f) {
    const std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

class Link : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "altlas_link_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    options_.directory = folder_ + "/workers";
  }
  void start() {
    server_ = std::make_unique<LinkServer>(context_, options_, seen_.callbacks());
    const Result<void> started = server_->start();
    ASSERT_TRUE(started.ok()) << started.error().message();
    io_ = std::thread([this] { context_.run(); });
  }
  void TearDown() override {
    process_.reset();
    if (server_) server_->stop();
    guard_.reset();
    context_.stop();
    if (io_.joinable()) io_.join();
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  WorkerOptions worker_options() const {
    WorkerOptions options;
    options.socket_path = server_->socket_path();
    options.worker = WorkerId{ReplicaId{3}};
    options.epoch = 1;
    options.token = "secret";
    return options;
  }
  // Starts this binary again, as a worker: see DISABLED_Main.
  void spawn(uint64_t epoch = 1) {
    SpawnOptions options;
    options.arguments = {"--gtest_also_run_disabled_tests",
                         "--gtest_filter=WorkerProcess.DISABLED_Main", "--gtest_brief=1"};
    options.environment = {{kTokenVariable, "secret"},
                           {"ALTLAS_TEST_SOCKET", server_->socket_path()},
                           {"ALTLAS_TEST_EPOCH", std::to_string(epoch)},
                           {"ALTLAS_TEST_PARENT", std::to_string(::getpid())}};
    auto process = Process::spawn(context_, options,
                                  [this](ProcessExit exit) { seen_.on_exit(std::move(exit)); });
    ASSERT_TRUE(process.ok()) << process.error().message();
    process_ = std::move(process).value();
  }
  static engine::SubmitSequence submit(uint64_t number, std::string payload, size_t tokens = 1) {
    engine::SubmitSequence out;
    out.sequence = SequenceId{number};
    out.prompt = std::vector<int32_t>(tokens, 1);
    out.prompt.add_payload(std::move(payload), 0);
    return out;
  }

  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{
      context_.get_executor()};
  std::string folder_;
  LinkOptions options_;
  Seen seen_;
  std::unique_ptr<LinkServer> server_;
  std::thread io_;
  std::unique_ptr<Process> process_;
};

TEST(WorkerProcess, DISABLED_Main) {
  const char* socket = std::getenv("ALTLAS_TEST_SOCKET");
  if (socket == nullptr) GTEST_SKIP() << "only as a child of the tests below";
  WorkerOptions options;
  options.socket_path = socket;
  options.worker = WorkerId{ReplicaId{3}};
  options.epoch = std::strtoull(std::getenv("ALTLAS_TEST_EPOCH"), nullptr, 10);
  options.token = std::getenv(kTokenVariable);
  options.parent_pid = std::atoi(std::getenv("ALTLAS_TEST_PARENT"));
  auto* host = new FakeHost;
  ::_exit(run_worker(options, *host));
}

// Runs as a process of its own: a server that starts the worker above, then hangs.
TEST(WorkerProcess, DISABLED_Server) {
  if (std::getenv("ALTLAS_TEST_SOCKET") == nullptr) GTEST_SKIP() << "only as a child of a test";
  boost::asio::io_context context;
  SpawnOptions options;
  options.arguments = {"--gtest_also_run_disabled_tests",
                       "--gtest_filter=WorkerProcess.DISABLED_Main", "--gtest_brief=1"};
  options.environment = {{"ALTLAS_TEST_PARENT", std::to_string(::getpid())},
                         {kTokenVariable, std::getenv(kTokenVariable)}};
  const auto worker = Process::spawn(context, options, [](const ProcessExit&) {});
  ASSERT_TRUE(worker.ok()) << worker.error().message();
  while (true) ::pause();
}

// Goal: a worker learns its token and none of the server's keys.
TEST_F(Link, AWorkerLearnsNoKeys) {
  const char* const kKeys[] = {"ALTLAS_API_KEY", "ALTLAS_AUTH__KEYS", "HF_TOKEN", "PIP_INDEX_URL"};
  for (const char* name : kKeys) ::setenv(name, "secret", 1);
  ::setenv("ALTLAS_SIMD", "avx2", 1);
  const std::string seen = folder_ + "/seen";
  SpawnOptions options;
  options.executable = "/bin/sh";
  options.arguments = {"-c", "env > " + seen};
  options.environment = {{kTokenVariable, "token"}};
  io_ = std::thread([this] { context_.run(); });
  const auto process = Process::spawn(context_, options,
                                      [this](ProcessExit exit) { seen_.on_exit(std::move(exit)); });
  for (const char* name : kKeys) ::unsetenv(name);
  ::unsetenv("ALTLAS_SIMD");
  ASSERT_TRUE(process.ok()) << process.error().message();
  ASSERT_TRUE(seen_.wait([&] { return seen_.exited.has_value(); }));
  std::ifstream file(seen);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  for (const char* name : kKeys) EXPECT_EQ(text.find(name), std::string::npos) << text;
  EXPECT_NE(text.find("ALTLAS_SIMD=avx2\n"), std::string::npos) << text;
  EXPECT_NE(text.find(std::string(kTokenVariable) + "=token\n"), std::string::npos) << text;
}

TEST_F(Link, CommandsAndReportsGoThrough) {
  start();
  server_->expect(kWorker, 1, "secret");
  server_->send(kWorker, engine::LoadReplica{});  // The command waits for the worker.
  FakeHost host;
  int code = -1;
  std::string message;
  std::thread worker([&] { code = run_worker(worker_options(), host, &message); });
  ASSERT_TRUE(seen_.wait([&] { return seen_.reports.size() >= 2; }));
  EXPECT_EQ(seen_.connected_pid, ::getpid());
  EXPECT_EQ(std::get<engine::ReplicaLoaded>(seen_.reports[1]).sequences_max, 7u);
  for (uint64_t i = 0; i < 3000; ++i) server_->send(kWorker, submit(i, "text", i % 50));
  server_->send(kWorker, engine::DrainReplica{});
  ASSERT_TRUE(seen_.wait([&] { return seen_.reports.size() >= 3003; }));
  for (uint64_t i = 0; i < 3000; ++i) {
    const auto& finished = std::get<engine::SequenceFinished>(seen_.reports[2 + i]);
    ASSERT_EQ(finished.sequence, SequenceId{i});
    ASSERT_EQ(finished.result.tokens, i % 50);
  }
  EXPECT_TRUE(std::holds_alternative<engine::ReplicaDrained>(seen_.reports[3002]));
  server_->stop_worker(kWorker, "scaled down");
  worker.join();
  EXPECT_EQ(code, kExitStopped);
  EXPECT_EQ(message, "the server ended the link: scaled down");
  EXPECT_TRUE(host.stopped);
  EXPECT_FALSE(seen_.lost) << "nobody is told of an end that was asked for";
}

// Goal: an engine that outruns the link loses nothing. Method: 20,000 deltas from a thread; ids and
// text have no gap.
TEST_F(Link, FloodOfTokensArrivesWithoutGap) {
  start();
  server_->expect(kWorker, 1, "secret");
  server_->send(kWorker, engine::LoadReplica{});
  server_->send(kWorker, submit(1, "flood"));
  FakeHost host;
  std::thread worker([&] { run_worker(worker_options(), host); });
  ASSERT_TRUE(seen_.wait([&] {
    return !seen_.reports.empty() &&
           std::holds_alternative<engine::SequenceFinished>(seen_.reports.back());
  }));
  uint32_t next = 0;
  for (const engine::Report& report : seen_.reports)
    if (const auto* tokens = std::get_if<engine::SequenceTokens>(&report)) {
      ASSERT_EQ(tokens->delta.first_index, next);
      ASSERT_EQ(tokens->delta.text_offset, next);
      ASSERT_EQ(tokens->delta.text.size(), tokens->delta.ids.size());
      next += static_cast<uint32_t>(tokens->delta.ids.size());
    }
  EXPECT_EQ(next, 20'000u);
  server_->stop();
  worker.join();
}

TEST_F(Link, StrangersAreTurnedAway) {
  start();
  server_->expect(kWorker, 2, "secret");
  const auto refused = [&](WorkerOptions options) {
    FakeHost host;
    std::string message;
    EXPECT_EQ(run_worker(options, host, &message), kExitRefused);
    return message;
  };
  auto options = worker_options();
  EXPECT_EQ(refused(options),
            "the server ended the link: replica 3 is in epoch 2, not 1: this worker was replaced");
  options.epoch = 2;
  options.token = "guess";
  EXPECT_EQ(refused(options), "the server ended the link: wrong token for replica 3");
  options.worker = WorkerId{ReplicaId{9}};
  EXPECT_EQ(refused(options), "the server ended the link: replica 9 is not expected");
  EXPECT_FALSE(
      seen_.wait([&] { return seen_.connected_pid.has_value() || seen_.lost.has_value(); }, 50ms));
  options.socket_path = folder_ + "/nothing";
  FakeHost host;
  EXPECT_EQ(run_worker(options, host), kExitConnect);
}

// Goal: bytes from a stranger end its own connection and nothing else. Method: garbage, and
// silence.
TEST_F(Link, GarbageEndsOnlyItself) {
  options_.hello_max = 100 * kMillisecond;
  start();
  const auto connect = [&] {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    server_->socket_path().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  };
  const auto read_to_end = [](int fd) {
    char buffer[256];
    std::string all;
    for (ssize_t size; (size = ::read(fd, buffer, sizeof buffer)) > 0;)
      all.append(buffer, static_cast<size_t>(size));
    ::close(fd);
    return all;
  };
  for (const std::string& text :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string("\x04\0\0\0abcd", 8)}) {
    const int fd = connect();
    ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    EXPECT_FALSE(read_to_end(fd).empty());
  }
  EXPECT_NE(read_to_end(connect()).find("no hello came in time"), std::string::npos);
}

TEST_F(Link, FolderIsPrivate) {
  start();
  struct stat info;
  ASSERT_EQ(::stat(options_.directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  LinkOptions open;
  open.directory = folder_ + "/open";
  std::filesystem::create_directory(open.directory);
  ::chmod(open.directory.c_str(), 0755);
  LinkServer second(context_, open, {});
  const Result<void> refused = second.start();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
  LinkOptions deep;
  deep.directory = folder_ + "/" + std::string(100, 'd');
  LinkServer third(context_, deep, {});
  EXPECT_EQ(third.start().error().code(), ErrorCode::kInvalid);
}

TEST_F(Link, KilledWorkerIsLostWithItsReason) {
  options_.silence_max = 300 * kMillisecond;
  start();
  server_->expect(kWorker, 1, "secret");
  server_->send(kWorker, engine::LoadReplica{});
  spawn();
  ASSERT_TRUE(seen_.wait([&] { return seen_.reports.size() >= 2; }));
  EXPECT_EQ(seen_.connected_pid, process_->pid());
  ASSERT_EQ(::kill(process_->pid(), SIGKILL), 0);
  ASSERT_TRUE(seen_.wait([&] { return seen_.exited && seen_.lost; }));
  EXPECT_EQ(seen_.exited->signal, SIGKILL);
  EXPECT_TRUE(seen_.exited->reason.starts_with("killed by signal 9")) << seen_.exited->reason;
  EXPECT_EQ(seen_.exited->reason.find("asked to"), std::string::npos);
  EXPECT_TRUE(seen_.lost->starts_with("nothing was heard from the worker")) << *seen_.lost;
}

TEST_F(Link, StoppedWorkerExitsInOrder) {
  start();
  server_->expect(kWorker, 1, "secret");
  server_->send(kWorker, engine::LoadReplica{});
  spawn();
  ASSERT_TRUE(seen_.wait([&] { return seen_.reports.size() >= 2; }));
  server_->stop_worker(kWorker, "scaled down");
  ASSERT_TRUE(seen_.wait([&] { return seen_.exited.has_value(); }));
  EXPECT_EQ(seen_.exited->reason, "exited with code 0");
}

// Goal: a worker whose engine has ended says why and ends. Method: a missing model.
TEST_F(Link, EngineThatCannotLoadEndsTheWorker) {
  options_.silence_max = 300 * kMillisecond;
  start();
  server_->expect(kWorker, 1, "secret");
  engine::LoadReplica load;
  load.model_path = "missing";
  server_->send(kWorker, load);
  FakeHost host;
  std::string message;
  EXPECT_EQ(run_worker(worker_options(), host, &message), kExitEngine);
  EXPECT_EQ(message, "the engine ended: no such file");
  ASSERT_TRUE(seen_.wait([&] { return seen_.lost.has_value(); }));
  EXPECT_EQ(std::get<engine::LoadFailed>(seen_.reports.back()).message, "no such file");
}

// Goal: a worker whose server is gone ends within 5 s, even if its engine hangs. Method: close the
// socket.
TEST_F(Link, WorkerWithoutServerEnds) {
  start();
  server_->expect(kWorker, 1, "secret");
  server_->send(kWorker, engine::LoadReplica{});
  server_->send(kWorker, submit(1, "hang"));
  spawn();
  ASSERT_TRUE(seen_.wait([&] { return seen_.reports.size() >= 3; }));
  const auto from = std::chrono::steady_clock::now();
  server_->stop();
  ASSERT_TRUE(seen_.wait([&] { return seen_.exited.has_value(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - from, 5s);
  EXPECT_EQ(seen_.exited->signal, 0) << "it ended by itself";
}

// Goal: a server that hangs (its socket is open, but it says nothing) counts as gone. Method: a
// listener that never reads.
TEST_F(Link, WorkerOfASilentServerEnds) {
  const std::string path = folder_ + "/silent.sock";
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  WorkerOptions options;
  options.socket_path = path;
  options.silence_max = 200 * kMillisecond;
  FakeHost host;
  std::string message;
  EXPECT_EQ(run_worker(options, host, &message), kExitServerGone);
  EXPECT_EQ(message, "nothing was heard from the server for 0.2 s");
  ::close(fd);
}

// Goal: a worker dies with its server at once, however busy it is and whoever holds the socket
// open. Method: a listener of this process that says nothing, so that only the kernel can tell the
// worker; the server between them is killed. This process adopts the orphan to see its end.
TEST_F(Link, WorkerDiesWithItsServer) {
  const std::string path = folder_ + "/held.sock";
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  start();
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  SpawnOptions options;
  options.arguments = {"--gtest_also_run_disabled_tests",
                       "--gtest_filter=WorkerProcess.DISABLED_Server", "--gtest_brief=1"};
  options.environment = {
      {kTokenVariable, "secret"}, {"ALTLAS_TEST_SOCKET", path}, {"ALTLAS_TEST_EPOCH", "1"}};
  process_ = Process::spawn(context_, options, [this](ProcessExit exit) {
               seen_.on_exit(std::move(exit));
             }).value();
  pollfd ready{.fd = listener, .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&ready, 1, 30'000), 1) << "no worker connected";
  const int link = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  ucred peer = {};
  socklen_t size = sizeof peer;
  ASSERT_EQ(::getsockopt(link, SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
  const int worker = static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0));
  ASSERT_GE(worker, 0);
  process_->kill();
  pollfd ended{.fd = worker, .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&ended, 1, 5'000), 1) << "the worker outlives its server";
  ASSERT_TRUE(seen_.wait([&] { return seen_.exited.has_value(); }));
  siginfo_t info = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(peer.pid), &info, WEXITED), 0);
  EXPECT_EQ(info.si_code, CLD_KILLED);
  EXPECT_EQ(info.si_status, SIGKILL);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  for (const int fd : {worker, link, listener}) ::close(fd);
}

// Goal: an out-of-memory kill is named, and no other SIGKILL is taken for one. Method: the kernel's
// count grows during the first worker's life, and stays the same during the second's.
TEST_F(Link, OutOfMemoryKillSaysSo) {
  start();
  const std::string counts = folder_ + "/vmstat";
  const auto kills = [&](int number) {
    std::ofstream(counts) << "nr_free_pages 5\noom_kill " << number << "\nthp_fault_alloc 7\n";
  };
  SpawnOptions options;
  options.executable = "/bin/sleep";
  options.arguments = {"100"};
  options.kernel_counts = counts;
  for (const bool out_of_memory : {true, false}) {
    kills(3);
    Seen seen;
    auto process = Process::spawn(context_, options, [&](ProcessExit exit) {
                     seen.on_exit(std::move(exit));
                   }).value();
    if (out_of_memory) kills(4);
    ASSERT_EQ(::kill(process->pid(), SIGKILL), 0);
    ASSERT_TRUE(seen.wait([&] { return seen.exited.has_value(); }));
    EXPECT_EQ(seen.exited->signal, SIGKILL);
    EXPECT_EQ(seen.exited->reason,
              out_of_memory ? "killed by signal 9 (out of memory)" : "killed by signal 9");
  }
}

TEST_F(Link, NewerStartReplacesAnOlderOne) {
  start();
  server_->expect(kWorker, 1, "secret");
  spawn(1);
  ASSERT_TRUE(seen_.wait([&] { return seen_.connected_pid.has_value(); }));
  server_->expect(kWorker, 2, "secret");
  ASSERT_TRUE(seen_.wait([&] { return seen_.exited.has_value(); }));
  EXPECT_EQ(seen_.exited->code, kExitRefused) << seen_.exited->reason;
}

TEST_F(Link, MissingExecutableIsAnError) {
  start();
  SpawnOptions options;
  options.executable = folder_ + "/nothing";
  const auto process = Process::spawn(context_, options, {});
  ASSERT_FALSE(process.ok());
  EXPECT_EQ(process.error().code(), ErrorCode::kIo);
}

TEST_F(Link, KillOnRequestSaysSo) {
  start();
  SpawnOptions options;
  options.executable = "/bin/sleep";
  options.arguments = {"100"};
  process_ = Process::spawn(context_, options, [this](ProcessExit exit) {
               seen_.on_exit(std::move(exit));
             }).value();
  process_->kill();
  ASSERT_TRUE(seen_.wait([&] { return seen_.exited.has_value(); }));
  EXPECT_EQ(seen_.exited->reason, "killed by signal 9 (asked to)");
}

}  // namespace
}  // namespace altlas::worker
