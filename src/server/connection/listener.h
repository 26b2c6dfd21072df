// Server: accepts connections (TCP, TLS), reads requests within limits, and runs the handlers of
// the route table.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/handlers.h"
#include "server/http/auth.h"

namespace boost::asio {
class io_context;
}

namespace altlas::server {

class Server {
 public:
  // `services` and `auth` outlive the server.  `io` is run by the caller's threads.
  Server(boost::asio::io_context& io, Services& services, const Auth& auth);
  ~Server();

  // Binds and listens.  Errors: kIo when the port is in use or may not be bound, kInvalid for a
  // certificate or key that can't be read.  Nothing is answered before start().
  Result<void> listen();
  // The port that was bound.
  uint16_t port() const;
  // "http://127.0.0.1:8000".
  std::string url() const;
  void start();
  // Reads the certificate and key again; connections that are open keep the old ones.
  Result<void> reload_tls();
  // No new connections; open ones finish their request and close.
  void stop_accepting();
  // Closes what is still open.
  void close();

  struct Impl;  // Defined in listener.cc; connections hold it.

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace altlas::server
