#include "worker/host.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <future>
#include <memory>
#include <optional>
#include <thread>

#include "base/channel.h"
#include "worker/connection.h"
#include "worker/outbox.h"
#include "worker/session.h"

namespace altlas::worker {
namespace {
namespace asio = boost::asio;

constexpr size_t kReportsMax =
    1 << 16;  // Waiting between the engine's threads and this one, and merged.
constexpr int64_t kRetry =
    2 * kMillisecond;  // A command that the engine had no room for is offered again.
constexpr int64_t kLastReportsMax =
    kSecond;  // For the last reports of an engine that ended to be taken.
constexpr auto kStopMax =
    std::chrono::milliseconds(900);  // For the engine, so that all is over within 5 s.

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

// The way from the engine's threads into the loop. Outlives the loop for as long as a thread holds
// it.
struct Inlet {
  explicit Inlet(asio::io_context& context) : reports(kReportsMax), ends(1), context(&context) {}
  Channel<engine::Report> reports;
  Channel<Error> ends;
  std::atomic<bool> scheduled = false, overflowed = false;
  std::function<void()> drain;  // On the loop.
  std::atomic<bool> open = true;
  std::atomic<int> senders = 0;  // Threads inside send(): the context must live until they are out.
  asio::io_context* context;

  void send(const std::shared_ptr<Inlet>& self, engine::Report report) {
    ++senders;
    if (open) {
      if (!reports.try_send(std::move(report))) overflowed = true;
      wake(self);
    }
    --senders;
  }
  void end(const std::shared_ptr<Inlet>& self, Error error) {
    ++senders;
    if (open && ends.try_send(std::move(error))) wake(self);
    --senders;
  }

 private:
  void wake(const std::shared_ptr<Inlet>& self) {
    if (!scheduled.exchange(true)) asio::post(*context, [self] { self->drain(); });
  }
};

class Worker {
 public:
  Worker(const WorkerOptions& options, EngineHost& host)
      : options_(options),
        host_(host),
        session_(session_options(options), system_clock().now()),
        timer_(context_),
        inlet_(std::make_shared<Inlet>(context_)) {
    inlet_->drain = [this] { drain_reports(); };
  }
  ~Worker() {
    inlet_->open = false;
    while (inlet_->senders != 0) std::this_thread::yield();
  }

  int run(std::string* message);

 private:
  static SessionOptions session_options(const WorkerOptions& options) {
    SessionOptions session;
    session.role = Role::kWorker;
    session.replica = options.replica;
    session.epoch = options.epoch;
    session.token = options.token;
    session.pid = ::getpid();
    session.host = host_name();
    session.silence_max = options.silence_max;
    return session;
  }
  bool connect();
  void pump();
  void drain_reports();
  void deliver(engine::Command command);
  void offer_commands();
  void end_with_engine();
  void end(int code, std::string message);
  void fail(const Error& error);
  void schedule();
  void stop_engine();

  const WorkerOptions options_;
  EngineHost& host_;
  asio::io_context context_;
  Session session_;
  asio::steady_timer timer_;
  std::shared_ptr<Inlet> inlet_;
  Outbox outbox_;
  std::deque<engine::Command> commands_;  // The engine had no room; at most a window of them.
  std::optional<Error> engine_end_;
  TimeUs engine_end_at_ = 0;  // When to wait no longer for its reports to be taken.
  std::shared_ptr<Connection> connection_;
  bool started_ = false, ended_ = false;
  int code_ = kExitStopped;
  std::string message_;
};

bool Worker::connect() {
  Connection::Socket socket(context_);
  boost::system::error_code error;
  try {
    socket.connect(asio::local::stream_protocol::endpoint(options_.socket_path), error);
  } catch (const std::exception& e) {  // A path that is too long.
    return end(kExitConnect,
               fmt::format("can't use socket '{}': {}", options_.socket_path, e.what())),
           false;
  }
  if (error)
    return end(kExitConnect,
               fmt::format("can't connect to '{}': {}", options_.socket_path, error.message())),
           false;
  connection_ = std::make_shared<Connection>(std::move(socket));
  connection_->on_bytes = [this](std::string_view bytes) {
    session_.on_bytes(system_clock().now(), bytes);
    pump();
  };
  // On this machine a broken connection means that the server's process has ended: there is nobody
  // to come back to.
  connection_->on_closed = [this](const std::string& reason) {
    end(kExitServerGone, "the server is gone: " + reason);
  };
  connection_->start();
  session_.connected(system_clock().now());
  return true;
}

void Worker::deliver(engine::Command command) {
  if (auto* load = std::get_if<engine::LoadReplica>(&command)) {
    if (started_) return end(kExitProtocol, "the server loads a second replica into this worker");
    started_ = true;
    session_.consumed(system_clock().now(), 1);
    return host_.start(
        std::move(*load),
        [inlet = inlet_](engine::Report report) { inlet->send(inlet, std::move(report)); },
        [inlet = inlet_](Error error) { inlet->end(inlet, std::move(error)); });
  }
  if (!started_) return end(kExitProtocol, "the server commands a replica that it did not load");
  commands_.push_back(std::move(command));
  offer_commands();
}

// Credit goes back for what the engine took, so a full engine holds the server back.
void Worker::offer_commands() {
  while (!commands_.empty() && host_.command(std::move(commands_.front()))) {
    commands_.pop_front();
    session_.consumed(system_clock().now(), 1);
  }
}

// Once the server has its last reports, LoadFailed above all.
void Worker::end_with_engine() {
  if (!engine_end_ || ended_) return;
  const bool said = outbox_.empty() && session_.idle();
  if (said || system_clock().now() >= engine_end_at_)
    end(kExitEngine, "the engine ended: " + engine_end_->message());
}

void Worker::pump() {
  const TimeUs now = system_clock().now();
  for (bool more = true; more && !ended_;) {
    while (!outbox_.empty() && session_.can_send()) {
      const Result<void> sent = session_.send(now, Message(*outbox_.pop()));
      if (!sent.ok()) return end(kExitProtocol, sent.error().message());
    }
    std::vector<SessionAction> actions = session_.take_actions();
    more = !actions.empty();
    for (SessionAction& action : actions) {
      if (auto* write = std::get_if<WriteBytes>(&action))
        connection_->write(std::move(write->bytes));
      if (auto* failed = std::get_if<LinkFailed>(&action)) fail(failed->error);
      if (auto* delivered = std::get_if<Deliver>(&action)) {
        deliver(std::get<engine::Command>(std::move(delivered->message)));
      }
      if (ended_) return;
    }
  }
  if (outbox_.size() > kReportsMax)
    return end(kExitOverflow, "the server does not take the reports");
  end_with_engine();
  if (!ended_) schedule();
}

void Worker::drain_reports() {
  if (ended_) return;
  inlet_->scheduled = false;
  for (engine::Report& report : inlet_->reports.drain()) outbox_.push(std::move(report));
  for (Error& error : inlet_->ends.drain()) {
    engine_end_ = std::move(error);
    engine_end_at_ = system_clock().now() + kLastReportsMax;
  }
  if (inlet_->overflowed)
    return end(kExitOverflow, "the engine reports faster than the link can take it");
  pump();
}

void Worker::schedule() {
  const TimeUs now = system_clock().now();
  TimeUs next = session_.next_deadline();
  if (!commands_.empty()) next = std::min(next, now + kRetry);
  if (engine_end_) next = std::min(next, engine_end_at_);
  const TimeUs wait = std::max<TimeUs>(0, next - now);
  timer_.expires_after(std::chrono::microseconds(wait));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error || ended_) return;
    session_.tick(system_clock().now());
    offer_commands();
    pump();
  });
}

void Worker::fail(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kCanceled:
      return end(session_.counts().delivered > 0 || started_ ? kExitStopped : kExitRefused,
                 error.message());
    case ErrorCode::kDeadline:
      return end(kExitServerGone, error.message());
    case ErrorCode::kUnsupported:
    case ErrorCode::kUnauthorized:
    case ErrorCode::kConflict:
      return end(kExitRefused, error.message());
    default:
      return end(kExitProtocol, error.message());
  }
}

void Worker::end(int code, std::string message) {
  if (ended_) return;
  ended_ = true;
  code_ = code;
  message_ = std::move(message);
  session_.goodbye(system_clock().now(), message_);
  if (connection_) {
    for (SessionAction& action : session_.take_actions())
      if (auto* write = std::get_if<WriteBytes>(&action))
        connection_->write(std::move(write->bytes));
    connection_->close(/*drain=*/true);
  }
  timer_.cancel();
}

void Worker::stop_engine() {
  if (!started_) return;
  // The engine may hang in a step or a driver call, which must not keep this process alive.
  std::packaged_task<void()> stop([host = &host_] { host->stop(); });
  const std::future<void> stopped = stop.get_future();
  std::thread thread(std::move(stop));
  if (stopped.wait_for(kStopMax) == std::future_status::ready)
    thread.join();
  else
    thread.detach();
}

int Worker::run(std::string* message) {
  if (connect()) {
    pump();
    while (!ended_ && context_.run_one() > 0) {
    }
    context_.restart();
    context_.run_for(std::chrono::milliseconds(50));  // The goodbye goes out.
  }
  stop_engine();
  if (message != nullptr) *message = message_;
  return code_;
}

}  // namespace

int run_worker(const WorkerOptions& options, EngineHost& host, std::string* message) {
  if (options.parent_pid != 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != options.parent_pid) {  // It ended before the line above.
      if (message != nullptr) *message = "the server ended while this worker started";
      return kExitServerGone;
    }
  }
  Worker worker(options, host);
  return worker.run(message);
}

}  // namespace altlas::worker
