#include "worker/node_agent.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>

#include "worker/connection.h"
#include "worker/host.h"
#include "worker/session.h"
#include "worker/worker_pump.h"

namespace altlas::worker {
namespace {
namespace asio = boost::asio;

// Workers of one node at once.
constexpr size_t kProcessesMax = 1024;

class NodeAgent {
 public:
  explicit NodeAgent(const NodeAgentOptions& options)
      : options_(options),
        session_(session_options(options), system_clock().now()),
        timer_(context_),
        signals_(context_, SIGTERM, SIGINT) {}

  int run(std::string* message);

 private:
  static SessionOptions session_options(const NodeAgentOptions& options) {
    SessionOptions session;
    session.role = SessionRole::kWorker;
    session.topic = SessionTopic::kNode;
    session.worker = {kNodeReplica, 0};
    session.pid = ::getpid();
    session.host = host_name();
    session.silence_max = options.silence_max;
    return session;
  }
  bool connect();
  void carry_out();
  void carry_out(SessionAction& action);
  void take(NodeMessage& message);
  void spawn(const SpawnWorker& what);
  void exited(WorkerId worker, const ProcessExit& end);
  void end(int code, std::string message);
  void schedule();

  const NodeAgentOptions& options_;
  asio::io_context context_;
  Session session_;
  asio::steady_timer timer_;
  asio::signal_set signals_;
  std::shared_ptr<Connection> connection_;
  // Those that run. A worker that is started anew has another WorkerId.
  std::map<WorkerId, std::unique_ptr<Process>> processes_;
  bool ended_ = false, up_ = false;
  int code_ = kExitStopped;
  std::string message_;
};

bool NodeAgent::connect() {
  auto stream =
      connect_tls(options_.server, std::chrono::milliseconds(options_.connect_max / kMillisecond));
  if (!stream.ok()) return end(kExitConnect, stream.error().message()), false;
  connection_ = Connection::over_tls(context_.get_executor(), *std::move(stream));
  connection_->on_bytes = [this](std::string_view bytes) {
    session_.on_bytes(system_clock().now(), bytes);
    carry_out();
  };
  connection_->on_closed = [this](const std::string& reason) {
    end(up_ ? kExitServerGone : kExitRefused,
        (up_ ? "the server is gone: " : "no link to the server: ") + reason);
  };
  connection_->start();
  session_.connected(system_clock().now());
  static_cast<void>(session_.send(system_clock().now(), Message(NodeMessage(options_.offer))));
  return true;
}

void NodeAgent::carry_out() {
  while (!ended_) {
    std::vector<SessionAction> actions = session_.take_actions();
    if (actions.empty()) break;
    for (SessionAction& action : actions) carry_out(action);
  }
  if (!ended_) schedule();
}

void NodeAgent::carry_out(SessionAction& action) {
  if (auto* write = std::get_if<WriteBytes>(&action)) connection_->write(std::move(write->bytes));
  if (std::holds_alternative<LinkUp>(action)) {
    up_ = true;
    if (options_.joined) options_.joined();
  }
  if (auto* delivered = std::get_if<Deliver>(&action)) {
    take(std::get<NodeMessage>(delivered->message));
    session_.consumed(system_clock().now(), 1);
  }
  if (auto* failed = std::get_if<LinkFailed>(&action))
    end(exit_of(failed->error.code(), up_), failed->error.message());
}

void NodeAgent::take(NodeMessage& message) {
  if (const auto* what = std::get_if<SpawnWorker>(&message)) spawn(*what);
  if (const auto* what = std::get_if<KillWorker>(&message))
    if (const auto found = processes_.find(what->worker); found != processes_.end())
      found->second->kill();
}

void NodeAgent::spawn(const SpawnWorker& what) {
  const auto refuse = [&](std::string why) {
    static_cast<void>(session_.send(
        system_clock().now(), Message(NodeMessage(WorkerEnded{what.worker, std::move(why)}))));
  };
  if (processes_.size() >= kProcessesMax)
    return refuse(fmt::format("this machine runs {} workers already", processes_.size()));
  if (processes_.contains(what.worker)) return refuse("this worker was started already");
  SpawnOptions options = options_.spawn;
  const std::vector<std::string> who = worker_identity(what.worker, what.epoch);
  options.arguments.insert(options.arguments.end(), who.begin(), who.end());
  options.environment.emplace_back(kTokenVariable, what.token);
  auto spawned =
      Process::spawn(context_, options,
                     [this, worker = what.worker](const ProcessExit& end) { exited(worker, end); });
  if (!spawned.ok()) return refuse(spawned.error().message());
  processes_[what.worker] = *std::move(spawned);
}

void NodeAgent::exited(WorkerId worker, const ProcessExit& end) {
  processes_.erase(worker);
  if (ended_) return;
  static_cast<void>(
      session_.send(system_clock().now(), Message(NodeMessage(WorkerEnded{worker, end.reason}))));
  carry_out();
}

void NodeAgent::end(int code, std::string message) {
  if (std::exchange(ended_, true)) return;
  code_ = code;
  message_ = std::move(message);
  session_.goodbye(system_clock().now(), message_);
  for (SessionAction& action : session_.take_actions())
    if (auto* write = std::get_if<WriteBytes>(&action); write != nullptr && connection_)
      connection_->write(std::move(write->bytes));
  if (connection_) {
    connection_->on_bytes = nullptr;
    connection_->on_closed = nullptr;
    connection_->close(/*drain=*/true);
  }
  timer_.cancel();
  signals_.cancel();
  context_.stop();
}

void NodeAgent::schedule() {
  const TimeUs wait = std::max<TimeUs>(0, session_.next_deadline() - system_clock().now());
  timer_.expires_after(std::chrono::microseconds(wait));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error || ended_) return;
    session_.tick(system_clock().now());
    carry_out();
  });
}

int NodeAgent::run(std::string* message) {
  if (connect()) {
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) end(kExitStopped, "it was told to stop");
    });
    carry_out();
    if (!ended_) context_.run();
    context_.restart();
    context_.run_for(std::chrono::milliseconds(100));  // The goodbye is sent meanwhile.
  }
  processes_.clear();
  *message = message_;
  return code_;
}

}  // namespace

int run_node_agent(const NodeAgentOptions& options, std::string* message) {
  NodeAgent agent(options);
  return agent.run(message);
}

}  // namespace altlas::worker
