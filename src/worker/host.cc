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
#include <future>
#include <memory>
#include <thread>

#include "base/channel.h"
#include "collective/sockets.h"
#include "worker/connection.h"
#include "worker/worker_pump.h"

namespace altlas::worker {
namespace {
namespace asio = boost::asio;

// After this time a command is offered again if the engine had no room for it.
constexpr int64_t kRetry = 2 * kMillisecond;
constexpr auto kConnectMax = std::chrono::milliseconds(5000);
// The time that the engine gets to stop, so that a worker without a server is over within 5 s.
constexpr auto kStopMax = std::chrono::milliseconds(900);

// The way from the engine's threads into the loop. It outlives the loop for as long as a thread
// holds it.
struct Inlet {
  explicit Inlet(asio::io_context& context) : reports(kReportsMax), ends(1), context(&context) {}
  Channel<engine::Report> reports;
  Channel<Error> ends;
  std::atomic<bool> scheduled = false, overflowed = false;
  std::function<void()> drain;  // It runs on the loop.
  std::atomic<bool> open = true;
  // Threads inside send(): the context must live until they are out.
  std::atomic<int> senders = 0;
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
        pump_(session_options(options), system_clock().now()),
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
    session.role = SessionRole::kWorker;
    session.worker = options.worker;
    session.epoch = options.epoch;
    session.token = options.token;
    session.pid = ::getpid();
    session.host = host_name();
    session.silence_max = options.silence_max;
    return session;
  }
  Result<std::shared_ptr<Connection>> open();
  bool connect();
  void carry_out();
  void carry_out(WorkerAction& action);
  bool offer_commands();
  void drain_reports();
  void end(int code, std::string message);
  void schedule();
  void stop_engine();

  const WorkerOptions options_;
  EngineHost& host_;
  asio::io_context context_;
  WorkerPump pump_;
  asio::steady_timer timer_;
  std::shared_ptr<Inlet> inlet_;
  std::shared_ptr<Connection> connection_;
  bool ended_ = false;
  int code_ = kExitStopped;
  std::string message_;
};

Result<std::shared_ptr<Connection>> Worker::open() {
  if (options_.tls) {
    ALTLAS_TRY(collective::Stream stream, connect_tls(*options_.tls, kConnectMax));
    return Connection::over_tls(context_.get_executor(), std::move(stream));
  }
  Connection::LocalSocket socket(context_);
  boost::system::error_code error;
  try {
    socket.connect(asio::local::stream_protocol::endpoint(options_.socket_path), error);
  } catch (const std::exception& e) {  // A path may be too long.
    return io_error(fmt::format("can't use socket '{}': {}", options_.socket_path, e.what()));
  }
  if (error)
    return io_error(
        fmt::format("can't connect to '{}': {}", options_.socket_path, error.message()));
  return Connection::over_socket(std::move(socket));
}

bool Worker::connect() {
  Result<std::shared_ptr<Connection>> opened = open();
  if (!opened.ok()) return end(kExitConnect, opened.error().message()), false;
  connection_ = *std::move(opened);
  connection_->on_bytes = [this](std::string_view bytes) {
    pump_.on_bytes(system_clock().now(), bytes);
    carry_out();
  };
  // On this machine a broken connection means that the server's process has ended: nobody will come
  // back. From another machine nobody comes back yet either.
  connection_->on_closed = [this](const std::string& reason) {
    end(kExitServerGone, "the server is gone: " + reason);
  };
  connection_->start();
  pump_.connected(system_clock().now());
  return true;
}

// Returns false if the engine took nothing.
bool Worker::offer_commands() {
  bool took = false;
  for (engine::Command* next = pump_.command(); next != nullptr && host_.command(std::move(*next));
       next = pump_.command()) {
    pump_.took_command(system_clock().now());
    took = true;
  }
  return took;
}

// Does what the pump asks for, until it asks for nothing.
void Worker::carry_out() {
  for (bool more = true; more && !ended_;) {
    std::vector<WorkerAction> actions = pump_.take_actions(system_clock().now());
    for (WorkerAction& action : actions) carry_out(action);
    more = offer_commands() || !actions.empty();
  }
  if (!ended_) schedule();
}

void Worker::carry_out(WorkerAction& action) {
  if (auto* write = std::get_if<WriteBytes>(&action); write != nullptr && connection_)
    connection_->write(std::move(write->bytes));
  if (auto* start = std::get_if<StartEngine>(&action))
    host_.start(
        std::move(start->load),
        [inlet = inlet_](engine::Report report) { inlet->send(inlet, std::move(report)); },
        [inlet = inlet_](Error error) { inlet->end(inlet, std::move(error)); });
  if (auto* end = std::get_if<EndProcess>(&action)) {
    ended_ = true;
    code_ = end->code;
    message_ = std::move(end->message);
    if (connection_) connection_->close(/*drain=*/true);
    timer_.cancel();
  }
}

void Worker::drain_reports() {
  if (ended_) return;
  inlet_->scheduled = false;
  for (engine::Report& report : inlet_->reports.drain()) pump_.report(std::move(report));
  for (Error& error : inlet_->ends.drain())
    pump_.engine_ended(system_clock().now(), std::move(error));
  if (inlet_->overflowed)
    return end(kExitOverflow, "the engine reports faster than the link can take it");
  carry_out();
}

void Worker::schedule() {
  const TimeUs now = system_clock().now();
  TimeUs next = pump_.next_deadline();
  if (pump_.command() != nullptr) next = std::min(next, now + kRetry);
  const TimeUs wait = std::max<TimeUs>(0, next - now);
  timer_.expires_after(std::chrono::microseconds(wait));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error || ended_) return;
    pump_.tick(system_clock().now());
    carry_out();
  });
}

void Worker::end(int code, std::string message) {
  pump_.end(system_clock().now(), code, std::move(message));
  carry_out();
}

void Worker::stop_engine() {
  if (!pump_.engine_started()) return;
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
    carry_out();
    while (!ended_ && context_.run_one() > 0) {
    }
    context_.restart();
    context_.run_for(std::chrono::milliseconds(50));  // The goodbye is sent meanwhile.
  }
  stop_engine();
  if (message != nullptr) *message = message_;
  return code_;
}

}  // namespace

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

Result<collective::Stream> connect_tls(const TlsAddress& address, std::chrono::milliseconds wait) {
  ALTLAS_TRY(const collective::Endpoint at, collective::resolve(address.host, address.port));
  ALTLAS_TRY(Fd fd, collective::connect_to(at, nullptr, std::chrono::steady_clock::now() + wait));
  collective::Stream stream(std::move(fd), address.identity.get(), collective::TlsSide::kClient);
  stream.expect_host(address.host);
  return stream;
}

int run_worker(const WorkerOptions& options, EngineHost& host, std::string* message) {
  if (options.parent_pid != 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Another parent means that the server ended before the line above.
    if (::getppid() != options.parent_pid) {
      if (message != nullptr) *message = "the server ended while this worker started";
      return kExitServerGone;
    }
  }
  Worker worker(options, host);
  return worker.run(message);
}

}  // namespace altlas::worker
