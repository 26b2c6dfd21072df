// What plain and TLS connections have in common: a SocketTransport over one of Beast's streams,
// whose operations time out.
#pragma once

#include <poll.h>

#include <boost/asio.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include <vector>

#include "server/connection/transport.h"

namespace altlas::server {

// co_await returns (error_code, …) instead of throwing.
inline constexpr auto kTuple = boost::asio::as_tuple(boost::asio::use_awaitable);

template <class Stream>
class StreamTransport : public SocketTransport {
 public:
  explicit StreamTransport(Stream stream) : stream_(std::move(stream)) {}

  boost::asio::ip::tcp::socket& socket() override { return lowest().socket(); }
  void expire_after(std::chrono::microseconds time) override {
    if (time.count() == 0) return lowest().expires_never();
    lowest().expires_after(time);
  }
  boost::asio::awaitable<std::pair<ErrorCode, size_t>> read_some(char* to,
                                                                 size_t bytes_max) override {
    const auto [error, count] =
        co_await stream_.async_read_some(boost::asio::buffer(to, bytes_max), kTuple);
    co_return std::pair<ErrorCode, size_t>(error, count);
  }
  boost::asio::awaitable<ErrorCode> write(std::string_view bytes) override {
    const auto [error, count] =
        co_await boost::asio::async_write(stream_, boost::asio::buffer(bytes), kTuple);
    co_return error;
  }
  bool write_now(std::string_view bytes) override {
    pollfd room{.fd = socket().native_handle(), .events = POLLOUT, .revents = 0};
    if (::poll(&room, 1, 0) != 1) return true;  // Bytes under way are as good a question.
    if (!(room.revents & POLLOUT) || (room.revents & (POLLERR | POLLHUP))) return false;
    ErrorCode error;
    boost::asio::write(stream_, boost::asio::buffer(bytes), error);
    return !error;
  }
  boost::asio::awaitable<void> drain(std::chrono::microseconds time, uint64_t bytes_max) override {
    lowest().expires_after(time);
    std::vector<char> sink(64 << 10);
    for (uint64_t bytes = 0; bytes < bytes_max;) {
      const auto [error, count] =
          co_await lowest().async_read_some(boost::asio::buffer(sink), kTuple);
      if (error) break;
      bytes += count;
    }
  }

 protected:
  boost::beast::tcp_stream& lowest() { return boost::beast::get_lowest_layer(stream_); }
  void end_sending() {
    ErrorCode ignored;
    socket().shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  }
  Stream stream_;
};

}  // namespace altlas::server
