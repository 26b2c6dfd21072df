// ClientWatch: whether the client of one request is still there while the request is carried out.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <memory>

#include "server/connection/hangups.h"
#include "server/http/http.h"

namespace altlas::server {

// One per request, so that nothing is shared with the next one. Everything but the construction
// happens on the connection's executor; what comes after end() changes nothing.
//
// A reset says that the client is gone. The end of its bytes does not: it may have closed its
// sending side only, and wait for the answer. Then, and when so many bytes wait unread that they
// may hide an end, the next byte of the answer is sent early: the system of a client that has
// closed answers it with a reset, one that reads on takes it as the beginning of its answer. More
// bytes follow, further and further apart, for relays in between that take the first ones.
class ClientWatch : public std::enable_shared_from_this<ClientWatch> {
 public:
  // Sends a byte early, if there is one to send. False: the connection is broken.
  using Probe = std::function<bool()>;

  // `socket` stays open until end(); so does what `probe` uses.
  ClientWatch(boost::asio::any_io_executor executor, std::shared_ptr<Hangups> hangups, int socket,
              Probe probe);
  ~ClientWatch() { end(); }
  // What the request's handler asks. The watch begins when somebody waits for it.
  std::shared_ptr<Disconnect> disconnect();
  // The answer is over.
  void end();

 private:
  static constexpr auto kFirstPause = std::chrono::milliseconds(250);
  static constexpr auto kPauseMax = std::chrono::seconds(15);
  // Bytes that wait unread and may keep the end of the client's bytes from coming in: the least
  // that a socket takes.
  static constexpr int kHidingBytes = 16 << 10;

  void begin();
  void on_sign(uint32_t signs);
  void probe();
  void probe_later();
  bool may_have_left() const;

  const boost::asio::any_io_executor executor_;
  const std::shared_ptr<Hangups> hangups_;
  const int socket_;
  Probe probe_;
  std::shared_ptr<Disconnect> disconnect_;
  boost::asio::steady_timer timer_;
  std::chrono::milliseconds pause_ = kFirstPause;
  uint64_t id_ = 0;
  bool probing_ = false;  // The timer runs.
  bool ended_ = false;    // The client sends nothing more.
  bool over_ = false;
};

}  // namespace altlas::server
