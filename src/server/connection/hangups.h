// Hangups: says when the peers of sockets end their side or are gone, without reading from them.
#pragma once

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"

namespace boost::asio {
class io_context;
}

namespace altlas::server {

// One epoll for all sockets, apart from the one of the io threads: that one says "readable" for a
// byte and for the end alike, and says it again and again while bytes wait, so that what a client
// sent behind its request would hide that it left. Any thread.
class Hangups {
 public:
  // Bits.
  static constexpr uint32_t kUnread = 1;  // Bytes wait to be read.
  static constexpr uint32_t kEnded = 2;   // The peer sends nothing more; it may still read.
  static constexpr uint32_t kGone = 4;    // Reset, or closed on both sides.

  explicit Hangups(boost::asio::io_context& io);
  ~Hangups();
  // Errors: kIo.
  Result<void> open();
  // Carries signs out until close().
  void start();
  void close();

  // Calls `on_sign` once with what holds of `wanted` (kGone always), at once if it holds already;
  // again() asks for the next time. It is called on any io thread, and must only hand on.  The
  // socket stays open until forget(). 0: it can't be watched.
  uint64_t watch(int socket, uint32_t wanted, std::function<void(uint32_t)> on_sign);
  void again(uint64_t id, uint32_t wanted);
  // A call that is under way may still come to its end.
  void forget(uint64_t id);

 private:
  struct Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace altlas::server
