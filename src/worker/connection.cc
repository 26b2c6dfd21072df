#include "worker/connection.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <optional>
#include <sys/socket.h>
#include <utility>

#include "base/drop.h"

namespace altlas::worker {
namespace asio = boost::asio;

namespace {

// The time that a connection that is to be closed gets to write what waits, and the other end to
// read it: data that comes meanwhile would make the kernel throw it away.
constexpr auto kLingerMax = std::chrono::seconds(2);
constexpr size_t kReadBytes = 65536;
constexpr size_t kWriteBytes = size_t{1} << 20;  // Offered to the socket in one turn.
constexpr int kReadsAtOnce = 16;                 // Then others have their turn.

// Closes the connection when kLingerMax is over, unless the timer is cancelled before.
void close_after_linger(asio::steady_timer& timer, std::shared_ptr<Connection> connection) {
  timer.expires_after(kLingerMax);
  timer.async_wait([connection = std::move(connection)](const boost::system::error_code& error) {
    if (!error) connection->close(/*drain=*/false);
  });
}

class SocketConnection final : public Connection {
 public:
  explicit SocketConnection(LocalSocket socket)
      : socket_(std::move(socket)), timer_(socket_.get_executor()) {
    boost::system::error_code ignored;  // Reads that would wait then do.
    socket_.non_blocking(true, ignored);
  }
  void start() override { read(); }
  void write(std::string bytes) override;
  void close(bool drain) override;
  size_t waiting_bytes() const override { return writing_.size() + queued_.size(); }

 private:
  std::shared_ptr<SocketConnection> self() {
    return std::static_pointer_cast<SocketConnection>(shared_from_this());
  }
  void read();
  void read_more(size_t size);
  void take(size_t size);
  void write_next();
  void ended(const boost::system::error_code& error);

  LocalSocket socket_;
  asio::steady_timer timer_;
  std::array<char, kReadBytes> buffer_;
  std::string writing_, queued_;
  bool closed_ = false, draining_ = false;
};

void SocketConnection::read() {
  socket_.async_read_some(asio::buffer(buffer_),
                          [self = self()](const boost::system::error_code& error, size_t size) {
                            if (self->closed_) return;
                            if (error) return self->ended(error);
                            self->take(size);
                            if (!self->closed_) self->read_more(size);
                          });
}

// Reads what else is there without waiting, up to a bound: other work of the thread would come
// between two reads otherwise, and a large message take as many turns as it has pieces.
void SocketConnection::read_more(size_t size) {
  boost::system::error_code error;
  for (int reads = 1; size == buffer_.size() && reads < kReadsAtOnce; ++reads) {
    size = socket_.read_some(asio::buffer(buffer_), error);
    if (error == asio::error::would_block) break;
    if (error) return ended(error);
    take(size);
    if (closed_) return;
  }
  read();
}

void SocketConnection::take(size_t size) {
  const auto handler = on_bytes;  // The handler may replace itself.
  if (!draining_ && handler) handler({buffer_.data(), size});
}

void SocketConnection::write(std::string bytes) {
  if (closed_ || draining_) return;
  if (queued_.empty())
    queued_ = std::move(bytes);
  else
    queued_ += bytes;
  if (writing_.empty()) write_next();
}

void SocketConnection::write_next() {
  writing_ = std::exchange(queued_, {});
  // As much at once as the socket takes, for the reason that read_more() has.
  const auto all = [](const boost::system::error_code& error, size_t) {
    return error ? size_t{0} : kWriteBytes;
  };
  asio::async_write(socket_, asio::buffer(writing_), all,
                    [self = self()](const boost::system::error_code& error, size_t) {
                      if (self->closed_) return;
                      if (error) return self->ended(error);
                      drop(self->writing_);  // Large messages leave no memory behind.
                      if (!self->queued_.empty()) return self->write_next();
                      if (self->draining_) self->close(false);
                    });
}

void SocketConnection::ended(const boost::system::error_code& error) {
  const auto closed = std::exchange(on_closed, nullptr);
  const bool say = !draining_;
  close(false);
  if (closed && say)
    closed(error == asio::error::eof ? "the other end closed the connection" : error.message());
}

void SocketConnection::close(bool drain) {
  if (closed_) return;
  if (drain && !writing_.empty()) {
    draining_ = true;
    close_after_linger(timer_, self());
    return;
  }
  closed_ = true;
  timer_.cancel();
  boost::system::error_code ignored;
  socket_.close(ignored);
}

// The stream moves bytes; the descriptor only waits.
class TlsConnection final : public Connection {
 public:
  TlsConnection(const asio::any_io_executor& executor, collective::Stream stream)
      : stream_(std::move(stream)), descriptor_(executor, stream_.fd()), timer_(executor) {}
  ~TlsConnection() override { static_cast<void>(release()); }
  void start() override { read(); }
  void write(std::string bytes) override;
  void close(bool drain) override;
  size_t waiting_bytes() const override { return queued_.size() - written_; }

 private:
  std::shared_ptr<TlsConnection> self() {
    return std::static_pointer_cast<TlsConnection>(shared_from_this());
  }
  static asio::posix::descriptor_base::wait_type kind(short poll) {
    return poll == 1 ? asio::posix::descriptor_base::wait_read
                     : asio::posix::descriptor_base::wait_write;
  }
  void read();
  void write_some();
  void certify();
  void ended(const std::string& reason);
  // Nothing more is sent; what comes is thrown away until the other end closes, or the time is
  // over.
  void linger();
  void discard();
  // The socket is the stream's, which closes it.
  int release() { return descriptor_.is_open() ? descriptor_.release() : -1; }

  collective::Stream stream_;
  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer timer_;
  std::array<std::byte, kReadBytes> buffer_;
  std::string queued_;
  size_t written_ = 0;  // Bytes of queued_ that have gone out.
  bool writing_ = false, certified_ = false, draining_ = false, lingering_ = false, closed_ = false;
};

void TlsConnection::read() {
  for (int i = 0; i < kReadsAtOnce; ++i) {
    if (closed_ || draining_ || lingering_) return;
    const Result<size_t> size = stream_.read_some(buffer_);
    if (!size.ok()) return ended(size.error().message());
    certify();
    if (*size == 0) {
      descriptor_.async_wait(kind(stream_.read_waits_for()),
                             [self = self()](const boost::system::error_code& error) {
                               if (!error) self->read();
                             });
      return;
    }
    const auto handler = on_bytes;  // The handler may replace itself.
    if (handler && !closed_ && !draining_)
      handler({reinterpret_cast<const char*>(buffer_.data()), *size});
  }
  asio::post(descriptor_.get_executor(), [self = self()] { self->read(); });
}

void TlsConnection::certify() {
  if (certified_ || !stream_.is_ready()) return;
  certified_ = true;
  if (on_certified && !closed_ && !draining_) on_certified(stream_.peer_name());
}

void TlsConnection::write(std::string bytes) {
  if (closed_ || draining_ || lingering_) return;
  if (written_ > queued_.size() / 2) queued_.erase(0, std::exchange(written_, 0));
  queued_ += bytes;
  if (!writing_) write_some();
}

void TlsConnection::write_some() {
  writing_ = false;
  while (written_ < queued_.size()) {
    if (closed_ || lingering_) return;
    const Result<size_t> size =
        stream_.write_some(std::as_bytes(std::span(queued_)).subspan(written_));
    if (!size.ok()) return ended(size.error().message());
    written_ += *size;
    if (*size > 0) continue;
    writing_ = true;
    descriptor_.async_wait(kind(stream_.write_waits_for()),
                           [self = self()](const boost::system::error_code& error) {
                             if (!error) self->write_some();
                           });
    return;
  }
  drop(queued_);  // Large messages leave no memory behind.
  written_ = 0;
  if (draining_) linger();
}

void TlsConnection::ended(const std::string& reason) {
  if (closed_ || lingering_) return;
  const auto closed = std::exchange(on_closed, nullptr);
  const bool say = !draining_;
  linger();
  if (closed && say) closed(reason);
}

void TlsConnection::linger() {
  if (std::exchange(lingering_, true)) return;
  ::shutdown(stream_.fd(), SHUT_WR);
  close_after_linger(timer_, self());
  discard();
}

void TlsConnection::discard() {
  for (int i = 0; i < kReadsAtOnce && !closed_; ++i) {
    const ssize_t size = ::recv(stream_.fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) return close(false);
    if (size < 0) break;
  }
  if (closed_) return;
  descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                         [self = self()](const boost::system::error_code& error) {
                           if (!error) self->discard();
                         });
}

void TlsConnection::close(bool drain) {
  if (closed_) return;
  if (drain) {
    if (std::exchange(draining_, true) || lingering_) return;
    close_after_linger(timer_, self());
    if (!writing_) write_some();
    return;
  }
  closed_ = true;
  timer_.cancel();
  static_cast<void>(release());
  stream_ = collective::Stream();
}

}  // namespace

std::shared_ptr<Connection> Connection::over_socket(LocalSocket socket) {
  return std::make_shared<SocketConnection>(std::move(socket));
}

std::shared_ptr<Connection> Connection::over_tls(asio::any_io_executor executor,
                                                 collective::Stream stream) {
  return std::make_shared<TlsConnection>(executor, std::move(stream));
}

}  // namespace altlas::worker
