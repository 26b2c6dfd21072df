// One connection with a read loop and a write queue: over a Unix socket, or over TCP under mutual
// TLS. Only the .cc files of this room include it.
#pragma once

#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "collective/stream.h"

namespace altlas::worker {

// Threads: everything on the socket's executor, which runs one handler at a time. Held by its own
// operations as well.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using LocalSocket = boost::asio::local::stream_protocol::socket;
  static std::shared_ptr<Connection> over_socket(LocalSocket socket);
  // `stream`: under TLS, hands not shaken yet. It shakes them with the first bytes.
  static std::shared_ptr<Connection> over_tls(boost::asio::any_io_executor executor,
                                              collective::Stream stream);
  virtual ~Connection() = default;

  // Under TLS: called once hands were shaken, before on_bytes, with the name in the other end's
  // certificate.
  std::function<void(std::string name)> on_certified;
  // Called with what was read, and once when the connection has ended otherwise than by close().
  std::function<void(std::string_view)> on_bytes;
  std::function<void(std::string reason)> on_closed;

  std::shared_ptr<void> lifetime;  // Let go of with the connection.

  virtual void start() = 0;
  virtual void write(std::string bytes) = 0;
  // No callback follows. `drain`: after what was written has gone out, and the other end has had
  // kLingerMax to read it.
  virtual void close(bool drain = false) = 0;
  // Bytes given to write() that have not gone out.
  virtual size_t waiting_bytes() const = 0;
};

}  // namespace altlas::worker
