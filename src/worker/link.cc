#include "worker/link.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <future>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "worker/connection.h"
#include "worker/session.h"

namespace altlas::worker {
namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;

namespace {

// Exists, is ours, and nobody else may enter.
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

}  // namespace

class LinkServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& context, LinkOptions options, LinkCallbacks callbacks)
      : options_(std::move(options)),
        callbacks_(std::move(callbacks)),
        context_(context),
        strand_(asio::make_strand(context)),
        acceptor_(strand_),
        path_(options_.directory + "/workers.sock") {}

  Result<void> start();
  void stop();
  const std::string& path() const { return path_; }
  template <class F>
  void post(F f) {
    asio::post(strand_, [self = shared_from_this(), f = std::move(f)]() mutable {
      if (!self->stopped_) f(*self);
    });
  }
  void expect(ReplicaId replica, uint64_t epoch, std::string token);
  void send(ReplicaId replica, engine::Command command);
  void stop_replica(ReplicaId replica, const std::string& reason);

 private:
  // A replica that may connect, or is connected.
  struct Peer {
    explicit Peer(Impl& impl) : timer(impl.strand_) {}
    ReplicaId replica;
    SessionOptions options;
    std::optional<Session> session;  // From the first hello on.
    std::shared_ptr<Connection> connection;
    std::deque<engine::Command> commands;  // Waiting for credit.
    asio::steady_timer timer;
    bool over = false;  // Taken out of peers_; a handler may still hold it.
  };
  // A connection that has not said who it is.
  struct Unknown {
    explicit Unknown(Impl& impl) : timer(impl.strand_) {}
    std::shared_ptr<Connection> connection;
    FrameReader reader{kHelloBytesMax};
    asio::steady_timer timer;
  };
  using PeerPointer = std::shared_ptr<Peer>;
  using UnknownPointer = std::shared_ptr<Unknown>;

  void accept();
  void greet(Protocol::socket socket);
  void on_unknown_bytes(const UnknownPointer& unknown, std::string_view bytes);
  // `epoch`: what the other end says it is in, so that it hears the reason.
  void drop(const UnknownPointer& unknown, const std::string& reason, uint64_t epoch = 0);
  void adopt(const UnknownPointer& unknown, Frame hello);
  void pump(const PeerPointer& peer);
  void schedule(const PeerPointer& peer);
  void lose(const PeerPointer& peer, const std::string& reason);
  void close(const PeerPointer& peer, const std::string& reason);

  const LinkOptions options_;
  const LinkCallbacks callbacks_;
  asio::io_context& context_;
  asio::strand<asio::io_context::executor_type> strand_;
  Protocol::acceptor acceptor_;
  const std::string path_;
  // Of the strand only.
  std::map<ReplicaId, PeerPointer> peers_;
  std::set<UnknownPointer> unknown_;
  bool stopped_ = false, listening_ = false;
};

Result<void> LinkServer::Impl::start() {
  ALTLAS_TRY_VOID(make_private_directory(options_.directory));
  if (path_.size() > 107)
    return invalid(
        fmt::format("socket path '{}' has {} bytes, 107 is the most: choose a shorter folder",
                    path_, path_.size()));
  ::unlink(path_.c_str());  // Of a server that was killed; the folder is ours alone.
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
    for (const auto& unknown : unknown_) {
      unknown->timer.cancel();
      unknown->connection->close();
    }
    unknown_.clear();
    for (const auto& [replica, peer] : std::exchange(peers_, {})) close(peer, "the server stops");
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
  acceptor_.async_accept([self = shared_from_this()](const boost::system::error_code& error,
                                                     Protocol::socket socket) {
    if (self->stopped_) return;
    if (!error) {
      self->greet(std::move(socket));
      return self->accept();
    }
    if (error == asio::error::operation_aborted) return;
    // Out of descriptors, or the like: not in a tight loop.
    auto timer = std::make_shared<asio::steady_timer>(self->strand_, std::chrono::milliseconds(50));
    timer->async_wait([self, timer](const boost::system::error_code&) {
      if (!self->stopped_) self->accept();
    });
  });
}

void LinkServer::Impl::greet(Protocol::socket socket) {
  if (unknown_.size() >= options_.unknown_max) return;  // The socket closes itself.
  auto unknown = std::make_shared<Unknown>(*this);
  unknown->connection = std::make_shared<Connection>(std::move(socket));
  unknown_.insert(unknown);
  const std::weak_ptr<Unknown> weak = unknown;
  unknown->connection->on_bytes = [this, weak](std::string_view bytes) {
    if (const auto held = weak.lock()) on_unknown_bytes(held, bytes);
  };
  unknown->connection->on_closed = [this, weak](const std::string&) {
    if (const auto held = weak.lock()) {
      held->timer.cancel();
      unknown_.erase(held);
    }
  };
  unknown->timer.expires_after(std::chrono::microseconds(options_.hello_max));
  unknown->timer.async_wait(
      [self = shared_from_this(), weak](const boost::system::error_code& error) {
        const auto held = weak.lock();
        if (!error && held && !self->stopped_) self->drop(held, "no hello came in time");
      });
  unknown->connection->start();
}

void LinkServer::Impl::drop(const UnknownPointer& unknown, const std::string& reason,
                            uint64_t epoch) {
  if (unknown_.erase(unknown) == 0) return;
  unknown->timer.cancel();
  Frame frame;
  frame.epoch = epoch;
  frame.body = Goodbye{reason};
  unknown->connection->write(encode_frame(frame).value());
  unknown->connection->close(/*drain=*/true);
}

void LinkServer::Impl::on_unknown_bytes(const UnknownPointer& unknown, std::string_view bytes) {
  unknown->reader.feed(bytes);
  const auto message = unknown->reader.next();
  if (!message.ok()) return drop(unknown, message.error().message());
  if (!*message) return;
  Result<Frame> frame = decode_frame(**message);
  if (!frame.ok()) return drop(unknown, frame.error().message());
  if (!std::holds_alternative<Hello>(frame->body))
    return drop(unknown, "a worker says hello first");
  adopt(unknown, std::move(frame).value());
}

void LinkServer::Impl::adopt(const UnknownPointer& unknown, Frame frame) {
  const Hello& hello = std::get<Hello>(frame.body);
  const auto found = peers_.find(hello.replica);
  if (found == peers_.end())
    return drop(unknown, fmt::format("replica {} is not expected", hello.replica.value),
                frame.epoch);
  const PeerPointer peer = found->second;
  if (frame.epoch != peer->options.epoch)
    return drop(unknown,
                fmt::format("replica {} is in epoch {}, not {}: this worker was replaced",
                            hello.replica.value, peer->options.epoch, frame.epoch),
                frame.epoch);
  if (!same_token(hello.token, peer->options.token))
    return drop(unknown, fmt::format("wrong token for replica {}", hello.replica.value),
                frame.epoch);
  unknown->timer.cancel();
  unknown_.erase(unknown);
  if (peer->connection) peer->connection->close();
  peer->connection = unknown->connection;
  const std::weak_ptr<Peer> weak = peer;
  peer->connection->on_bytes = [this, weak](std::string_view bytes) {
    const auto held = weak.lock();
    if (!held || held->over) return;
    held->session->on_bytes(system_clock().now(), bytes);
    pump(held);
  };
  peer->connection->on_closed = [this, weak](const std::string&) {
    const auto held = weak.lock();
    if (!held || held->over) return;
    held->connection = nullptr;
    held->session->disconnected(
        system_clock().now());  // silence_max from now on; its exit is seen sooner.
    pump(held);
  };
  const TimeUs now = system_clock().now();
  if (!peer->session) peer->session.emplace(peer->options, now);
  peer->session->connected(now);
  peer->session->on_frame(now, std::move(frame));
  peer->session->on_bytes(now, unknown->reader.rest());
  pump(peer);
}

void LinkServer::Impl::pump(const PeerPointer& peer) {
  const TimeUs now = system_clock().now();
  for (bool more = true; more && !peer->over;) {
    while (!peer->commands.empty() && peer->session->can_send()) {
      const Result<void> sent =
          peer->session->send(now, Message(std::move(peer->commands.front())));
      peer->commands.pop_front();
      if (!sent.ok()) return lose(peer, sent.error().message());
    }
    std::vector<SessionAction> actions = peer->session->take_actions();
    more = !actions.empty();
    for (SessionAction& action : actions) {
      if (auto* write = std::get_if<WriteBytes>(&action); write && peer->connection)
        peer->connection->write(std::move(write->bytes));
      if (auto* up = std::get_if<LinkUp>(&action); up && !up->again)
        callbacks_.connected(peer->replica, up->pid);
      if (auto* failed = std::get_if<LinkFailed>(&action))
        return lose(peer, failed->error.message());
      if (auto* delivered = std::get_if<Deliver>(&action)) {
        callbacks_.report(peer->replica, std::get<engine::Report>(std::move(delivered->message)));
        peer->session->consumed(now, 1);
      }
    }
  }
  if (!peer->over) schedule(peer);
}

void LinkServer::Impl::schedule(const PeerPointer& peer) {
  const TimeUs wait = std::max<TimeUs>(0, peer->session->next_deadline() - system_clock().now());
  peer->timer.expires_after(std::chrono::microseconds(wait));
  peer->timer.async_wait([self = shared_from_this(), weak = std::weak_ptr<Peer>(peer)](
                             const boost::system::error_code& error) {
    const auto held = weak.lock();
    if (error || !held || held->over) return;
    held->session->tick(system_clock().now());
    self->pump(held);
  });
}

void LinkServer::Impl::close(const PeerPointer& peer, const std::string& reason) {
  peer->over = true;
  peer->timer.cancel();
  if (!peer->connection) return;
  if (peer->session) {
    peer->session->goodbye(system_clock().now(), reason);
    for (SessionAction& action : peer->session->take_actions())
      if (auto* write = std::get_if<WriteBytes>(&action))
        peer->connection->write(std::move(write->bytes));
  }
  peer->connection->close(/*drain=*/true);
}

void LinkServer::Impl::lose(const PeerPointer& peer, const std::string& reason) {
  if (peer->over) return;
  close(peer, reason);
  peers_.erase(peer->replica);
  callbacks_.lost(peer->replica, reason);
}

void LinkServer::Impl::expect(ReplicaId replica, uint64_t epoch, std::string token) {
  stop_replica(replica, "replaced by a newer start of the replica");
  auto peer = std::make_shared<Peer>(*this);
  peer->replica = replica;
  peer->options.role = Role::kServer;
  peer->options.replica = replica;
  peer->options.epoch = epoch;
  peer->options.token = std::move(token);
  peer->options.pid = ::getpid();
  peer->options.silence_max = options_.silence_max;
  peers_.emplace(replica, std::move(peer));
}

void LinkServer::Impl::send(ReplicaId replica, engine::Command command) {
  const auto found = peers_.find(replica);
  if (found == peers_.end()) return;
  const PeerPointer peer = found->second;
  if (peer->commands.size() >= options_.commands_max)
    return lose(peer, fmt::format("the worker left {} commands unread", peer->commands.size()));
  peer->commands.push_back(std::move(command));
  if (peer->session) pump(peer);
}

void LinkServer::Impl::stop_replica(ReplicaId replica, const std::string& reason) {
  const auto found = peers_.find(replica);
  if (found == peers_.end()) return;
  close(found->second, reason);
  peers_.erase(found);
}

LinkServer::LinkServer(asio::io_context& context, LinkOptions options, LinkCallbacks callbacks)
    : impl_(std::make_shared<Impl>(context, std::move(options), std::move(callbacks))) {}
LinkServer::~LinkServer() { stop(); }
Result<void> LinkServer::start() { return impl_->start(); }
void LinkServer::stop() { impl_->stop(); }
const std::string& LinkServer::socket_path() const { return impl_->path(); }

void LinkServer::expect(ReplicaId replica, uint64_t epoch, std::string token) {
  impl_->post([=, token = std::move(token)](Impl& impl) mutable {
    impl.expect(replica, epoch, std::move(token));
  });
}
void LinkServer::send(ReplicaId replica, engine::Command command) {
  impl_->post([replica, command = std::move(command)](Impl& impl) mutable {
    impl.send(replica, std::move(command));
  });
}
void LinkServer::stop_replica(ReplicaId replica, std::string reason) {
  impl_->post(
      [replica, reason = std::move(reason)](Impl& impl) { impl.stop_replica(replica, reason); });
}

}  // namespace altlas::worker
