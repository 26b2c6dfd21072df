// HttpSession: one connection: requests one after another until either side has enough.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/connection/client_watch.h"
#include "server/connection/dispatch.h"
#include "server/connection/hangups.h"
#include "server/connection/transport.h"
#include "server/connection/wrong_keys.h"
#include "server/handlers.h"
#include "server/http/auth.h"
#include "server/http/request_reader.h"
#include "server/http/response_head.h"

namespace altlas::server {

// What the connections of one server share. Any thread.
struct SessionShare {
  Services& services;
  const Auth& auth;
  const std::shared_ptr<Hangups> hangups;
  WrongKeys wrong_keys;
  std::atomic<bool> stopping{false};
};

class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(std::unique_ptr<SocketTransport> transport, std::shared_ptr<SessionShare> share);
  // On the socket's executor, as everything here but stop(). Returns when the connection is closed.
  boost::asio::awaitable<void> run();
  // Any thread: ends the connection, `also_busy`: within a request too.
  void stop(bool also_busy);

 private:
  struct Stream;

  const config::ServerConfig& config() const { return share_->services.config.server; }
  boost::asio::awaitable<bool> fill();
  boost::asio::awaitable<bool> read(RequestReader& reader);
  boost::asio::awaitable<bool> read_body(RequestReader& reader);
  boost::asio::awaitable<bool> answer(RequestReader& reader);
  boost::asio::awaitable<bool> send(std::string_view bytes);
  boost::asio::awaitable<bool> send_answer(const Response& response, HeadOptions options);
  boost::asio::awaitable<bool> send_stream(const Response& response, HeadOptions options);
  boost::asio::awaitable<Result<void>> send_piece(std::shared_ptr<Stream> stream,
                                                  std::string piece);
  boost::asio::awaitable<bool> refuse(const RequestReader& reader, Error error, int status = 0);
  Result<void> check_head(const RequestReader& reader);
  boost::asio::awaitable<void> slow_down();
  bool probe();
  void take_prefix(std::string& head);

  const std::unique_ptr<SocketTransport> transport_;
  const std::shared_ptr<SessionShare> share_;
  const std::string local_address_, peer_address_;
  boost::beast::flat_buffer buffer_;  // What is read and not yet used.
  // For the request that is being read:
  std::shared_ptr<MemoryLease> memory_;
  std::optional<Result<Admitted>> admitted_;  // Once its head is known.
  bool busy_ = false;
  bool closing_ = false;
  // For the answer that is going out:
  unsigned version_ = 11;
  size_t prefix_sent_ = 0;  // Bytes of it that went out early.
  bool sending_ = false;
  std::shared_ptr<Stream> stream_;  // Once its head has gone out.
};

}  // namespace altlas::server
