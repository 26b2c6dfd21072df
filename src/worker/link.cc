#include "worker/link.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <cerrno>
#include <cstring>
#include <future>
#include <map>
#include <utility>

#include "base/log.h"
#include "collective/sockets.h"
#include "worker/connection.h"
#include "worker/link_pump.h"

namespace altlas::worker {
namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;

namespace {

// Makes the directory if it is missing, and checks that it is ours and that nobody else may enter.
Result<void> make_private_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return io_error(fmt::format("can't make folder '{}' for the workers' socket: {}", path,
                                std::strerror(errno)));
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0)
    return io_error(fmt::format("can't read folder '{}': {}", path, std::strerror(errno)));
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || (info.st_mode & 077) != 0)
    return invalid(
        fmt::format("'{}' must be a folder that only its owner can enter (chmod 700)", path));
  return {};
}

LinkPumpOptions pump_options(const LinkOptions& options) {
  return {.silence_max = options.silence_max,
          .unknown_max = options.unknown_max,
          .hello_max = options.hello_max,
          .commands_max = options.commands_max,
          .pid = ::getpid(),
          .ping_interval = options.ping_interval};
}

// Connections that are closed linger (worker/connection.h); beyond this many they are cut.
constexpr int64_t kLingeringMax = 256;
// Lines about refused connections in so long; the others are counted.
constexpr int kRefusalsLogged = 20;
constexpr int64_t kRefusalsPeriod = 10 * kSecond;

// Tells the log of refused connections, but never floods it.
class RefusalLog {
 public:
  void add(TimeUs now, const std::string& whom, const std::string& why) {
    if (now - since_ >= kRefusalsPeriod) {
      if (count_ > kRefusalsLogged)
        log::warn("{} more connections to the workers' port were refused",
                  count_ - kRefusalsLogged);
      since_ = now;
      count_ = 0;
    }
    if (++count_ <= kRefusalsLogged)
      log::warn("a connection from {} to the workers' port was refused: {}", whom, why);
  }

 private:
  TimeUs since_ = 0;
  int count_ = 0;
};

}  // namespace

class LinkServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& context, LinkOptions options, LinkCallbacks callbacks)
      : options_(std::move(options)),
        callbacks_(std::move(callbacks)),
        context_(context),
        strand_(asio::make_strand(context)),
        acceptor_(strand_),
        listener_(strand_),
        timer_(strand_),
        path_(options_.tls ? "" : options_.directory + "/workers.sock"),
        pump_(pump_options(options_)) {}

  Result<void> start();
  void stop();
  const std::string& path() const { return path_; }
  uint16_t port() const { return port_; }
  template <class F>
  void post(F f) {
    asio::post(strand_, [self = shared_from_this(), f = std::move(f)]() mutable {
      if (!self->stopped_) f(*self);
    });
  }
  // Hands an event to the pump, on the strand, and does what the pump asks for.
  template <class F>
  void drive(F f) {
    post([f = std::move(f)](Impl& impl) mutable {
      f(impl.pump_, system_clock().now());
      impl.carry_out();
    });
  }

 private:
  Result<void> start_local();
  Result<void> start_tls();
  void accept();
  void accept_tls();
  void greet(std::shared_ptr<Connection> connection, std::string whom);
  void try_again(void (Impl::*accept)());
  int64_t lingering() const {
    return live_.use_count() - 1 - static_cast<int64_t>(connections_.size());
  }
  // Does what the pump asks for, and sets the timer anew.
  void carry_out();
  void carry_out(LinkAction& action);
  void schedule();

  const LinkOptions options_;
  const LinkCallbacks callbacks_;
  asio::io_context& context_;
  asio::strand<asio::io_context::executor_type> strand_;
  Protocol::acceptor acceptor_;
  asio::posix::stream_descriptor listener_;  // Under TLS; a socket that listens.
  asio::steady_timer timer_;
  const std::string path_;
  uint16_t port_ = 0;
  // The members from here on are the strand's alone.
  LinkPump pump_;
  struct Known {
    std::shared_ptr<Connection> connection;
    std::string whom;
  };
  std::map<ConnectionId, Known> connections_;
  RefusalLog refusals_;
  std::shared_ptr<int> live_ = std::make_shared<int>(0);  // Shared by every connection there is.
  uint64_t next_connection_ = 1;
  TimeUs armed_ = INT64_MAX;  // The time that timer_ waits for.
  bool stopped_ = false, listening_ = false;
};

Result<void> LinkServer::Impl::start() { return options_.tls ? start_tls() : start_local(); }

Result<void> LinkServer::Impl::start_tls() {
  ALTLAS_TRY(const collective::Endpoint at,
             collective::resolve(options_.tls->host, options_.tls->port));
  ALTLAS_TRY(Fd fd, collective::listen_at(at));
  port_ = collective::own_endpoint(fd.get()).port;
  listener_.assign(fd.release());
  post([](Impl& impl) { impl.accept_tls(); });
  return {};
}

Result<void> LinkServer::Impl::start_local() {
  ALTLAS_TRY_VOID(make_private_directory(options_.directory));
  if (path_.size() > 107)
    return invalid(
        fmt::format("socket path '{}' has {} bytes, 107 is the most: choose a shorter folder",
                    path_, path_.size()));
  // A server that was killed left it; the folder is ours alone.
  ::unlink(path_.c_str());
  boost::system::error_code error;
  acceptor_.open(Protocol(), error);
  if (!error) acceptor_.bind(Protocol::endpoint(path_), error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return io_error(fmt::format("can't listen on '{}': {}", path_, error.message()));
  listening_ = true;
  post([](Impl& impl) { impl.accept(); });
  return {};
}

void LinkServer::Impl::stop() {
  const auto finish = [this] {
    if (std::exchange(stopped_, true)) return;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    listener_.close(ignored);
    timer_.cancel();
    pump_.stop(system_clock().now());
    carry_out();
    if (listening_) ::unlink(path_.c_str());
  };
  if (context_.stopped() || strand_.running_in_this_thread()) return finish();
  std::promise<void> done;
  asio::post(strand_, [&] {
    finish();
    done.set_value();
  });
  done.get_future().wait();
}

void LinkServer::Impl::accept() {
  acceptor_.async_accept(
      [self = shared_from_this()](const boost::system::error_code& error, Protocol::socket socket) {
        if (self->stopped_) return;
        if (!error) {
          self->greet(Connection::over_socket(std::move(socket)), "this machine");
          return self->accept();
        }
        if (error != asio::error::operation_aborted) self->try_again(&Impl::accept);
      });
}

void LinkServer::Impl::accept_tls() {
  listener_.async_wait(
      asio::posix::descriptor_base::wait_read,
      [self = shared_from_this()](const boost::system::error_code& error) {
        if (self->stopped_ || error) return;
        Fd fd(::accept4(self->listener_.native_handle(), nullptr, nullptr,
                        SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!fd && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
          return self->try_again(&Impl::accept_tls);
        if (fd && self->lingering() < kLingeringMax) {
          const std::string whom = collective::to_string(collective::peer_endpoint(fd.get()));
          collective::Stream stream(std::move(fd), self->options_.tls->identity.get(),
                                    collective::TlsSide::kServer);
          self->greet(Connection::over_tls(self->strand_, std::move(stream)), whom);
        }
        self->accept_tls();
      });
}

// The process may be out of descriptors: another try at once would only spin.
void LinkServer::Impl::try_again(void (Impl::*accept)()) {
  auto timer = std::make_shared<asio::steady_timer>(strand_, std::chrono::milliseconds(50));
  timer->async_wait([self = shared_from_this(), accept, timer](const boost::system::error_code&) {
    if (!self->stopped_) ((*self).*accept)();
  });
}

void LinkServer::Impl::greet(std::shared_ptr<Connection> connection, std::string whom) {
  const ConnectionId id{next_connection_++};
  connection->lifetime = live_;
  connections_.emplace(id, Known{connection, std::move(whom)});
  connection->on_certified = [this, id](std::string name) { pump_.certified(id, std::move(name)); };
  connection->on_bytes = [this, id](std::string_view bytes) {
    pump_.on_bytes(system_clock().now(), id, bytes);
    carry_out();
  };
  connection->on_closed = [this, id](const std::string& reason) {
    if (const auto node = connections_.extract(id); node && pump_.is_unknown(id))
      refusals_.add(system_clock().now(), node.mapped().whom, reason);
    pump_.disconnected(system_clock().now(), id);
    carry_out();
  };
  pump_.connected(system_clock().now(), id);
  carry_out();
  connection->start();
}

void LinkServer::Impl::carry_out() {
  for (auto actions = pump_.take_actions(); !actions.empty(); actions = pump_.take_actions())
    for (LinkAction& action : actions) carry_out(action);
  if (!stopped_) schedule();
}

void LinkServer::Impl::carry_out(LinkAction& action) {
  if (auto* write = std::get_if<LinkWrite>(&action))
    if (const auto found = connections_.find(write->connection); found != connections_.end())
      found->second.connection->write(std::move(write->bytes));
  if (auto* close = std::get_if<LinkClose>(&action))
    if (const auto node = connections_.extract(close->connection)) {
      Connection& connection = *node.mapped().connection;
      connection.on_certified = nullptr;
      connection.on_bytes = nullptr;
      connection.on_closed = nullptr;
      connection.close(/*drain=*/true);
      if (!close->refused.empty())
        refusals_.add(system_clock().now(), node.mapped().whom, close->refused);
    }
  if (auto* opened = std::get_if<LinkOpened>(&action))
    callbacks_.connected(opened->worker, opened->pid);
  if (auto* said = std::get_if<LinkReport>(&action))
    callbacks_.report(said->worker, std::move(said->report));
  if (auto* lost = std::get_if<LinkLost>(&action))
    callbacks_.lost(lost->worker, std::move(lost->reason));
  if (auto* node_said = std::get_if<LinkNodeSaid>(&action))
    callbacks_.node_said(node_said->node, std::move(node_said->message));
  if (auto* node_lost = std::get_if<LinkNodeLost>(&action))
    callbacks_.node_lost(node_lost->node, std::move(node_lost->reason));
}

void LinkServer::Impl::schedule() {
  const TimeUs next = pump_.next_deadline();
  if (next == armed_) return;
  armed_ = next;
  timer_.cancel();
  if (next == INT64_MAX) return;
  const TimeUs wait = std::max<TimeUs>(0, next - system_clock().now());
  timer_.expires_after(std::chrono::microseconds(wait));
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (error || self->stopped_) return;
    self->armed_ = INT64_MAX;
    self->pump_.tick(system_clock().now());
    self->carry_out();
  });
}

LinkServer::LinkServer(asio::io_context& context, LinkOptions options, LinkCallbacks callbacks)
    : impl_(std::make_shared<Impl>(context, std::move(options), std::move(callbacks))) {}
LinkServer::~LinkServer() { stop(); }
Result<void> LinkServer::start() { return impl_->start(); }
void LinkServer::stop() { impl_->stop(); }
const std::string& LinkServer::socket_path() const { return impl_->path(); }

uint16_t LinkServer::port() const { return impl_->port(); }

void LinkServer::expect(WorkerId worker, uint64_t epoch, std::string token, std::string host) {
  impl_->drive(
      [=, token = std::move(token), host = std::move(host)](LinkPump& pump, TimeUs now) mutable {
        pump.expect(now, worker, epoch, std::move(token), std::move(host));
      });
}
void LinkServer::expect_node(uint32_t node, std::string host) {
  impl_->drive([node, host = std::move(host)](LinkPump& pump, TimeUs) mutable {
    pump.expect_node(node, std::move(host));
  });
}
void LinkServer::send_to_node(uint32_t node, NodeMessage message) {
  impl_->drive([node, message = std::move(message)](LinkPump& pump, TimeUs now) mutable {
    pump.send_to_node(now, node, std::move(message));
  });
}
void LinkServer::send(WorkerId worker, engine::Command command) {
  impl_->drive([worker, command = std::move(command)](LinkPump& pump, TimeUs now) mutable {
    pump.send(now, worker, std::move(command));
  });
}
void LinkServer::stop_worker(WorkerId worker, std::string reason) {
  impl_->drive([worker, reason = std::move(reason)](LinkPump& pump, TimeUs now) {
    pump.stop_worker(now, worker, reason);
  });
}

}  // namespace altlas::worker
