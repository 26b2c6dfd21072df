// One Unix socket with a read loop and a write queue. Only the .cc files of this room include it.
#pragma once

#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace altlas::worker {

// Threads: everything on the socket's executor, which runs one handler at a time. Held by its own
// operations as well.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;
  explicit Connection(Socket socket) : socket_(std::move(socket)) {
    boost::system::error_code ignored;  // Reads that would wait then do.
    socket_.non_blocking(true, ignored);
  }

  // Called with what was read, and once when the connection has ended otherwise than by close().
  std::function<void(std::string_view)> on_bytes;
  std::function<void(std::string reason)> on_closed;

  void start() { read(); }
  void write(std::string bytes);
  // No callback follows. `drain`: after what was written has gone out.
  void close(bool drain = false);
  // Bytes given to write() that have not gone out.
  size_t waiting_bytes() const { return writing_.size() + queued_.size(); }

 private:
  static constexpr size_t kPiecesMax = 16;  // That are read in one turn.
  void read();
  void read_more(size_t size);
  void take(size_t size);
  void write_next();
  void ended(const boost::system::error_code& error);

  Socket socket_;
  std::array<char, 65536> buffer_;
  std::string writing_, queued_;
  bool closed_ = false, draining_ = false;
};

}  // namespace altlas::worker
