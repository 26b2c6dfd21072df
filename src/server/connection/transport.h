// SocketTransport: the bytes of one connection, plain or through TLS.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace altlas::server {

// On the connection's executor, a strand; one read and one write at a time.
class SocketTransport {
 public:
  using ErrorCode = boost::system::error_code;
  virtual ~SocketTransport() = default;

  virtual boost::asio::ip::tcp::socket& socket() = 0;
  // Operations that begin from now on end with an error when `time` from now has passed. Zero: no
  // such end.
  virtual void expire_after(std::chrono::microseconds time) = 0;
  // The TLS handshake, where there is one.
  virtual boost::asio::awaitable<ErrorCode> open() = 0;
  // At least one byte, unless there is an error.
  virtual boost::asio::awaitable<std::pair<ErrorCode, size_t>> read_some(char* to,
                                                                         size_t bytes_max) = 0;
  // All of `bytes`, which stay until it returns.
  virtual boost::asio::awaitable<ErrorCode> write(std::string_view bytes) = 0;
  // A few bytes at once, or none where the socket would make it wait. Not during a write().
  // False: the connection is broken.
  virtual bool write_now(std::string_view bytes) = 0;
  // Says that nothing more comes: TLS's last word, then the end of the sending side.
  virtual boost::asio::awaitable<void> finish() = 0;
  // Takes and drops what still comes, until the peer has ended its side too: closing before would
  // be a reset, which may take from it what it was sent.
  virtual boost::asio::awaitable<void> drain(std::chrono::microseconds time,
                                             uint64_t bytes_max) = 0;
};

std::unique_ptr<SocketTransport> plain_transport(boost::asio::ip::tcp::socket socket);
// `context` is kept.
std::unique_ptr<SocketTransport> tls_transport(boost::asio::ip::tcp::socket socket,
                                               std::shared_ptr<boost::asio::ssl::context> context);

}  // namespace altlas::server
