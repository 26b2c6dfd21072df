// RequestReader: bytes of a connection in, one request out, or the answer that refuses it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "config/config.h"
#include "server/http/http.h"

namespace altlas::server {

// Why a connection is closed after this answer.
struct Refusal {
  int status = 400;
  std::string message;
};

// Largest body that the path takes.
uint64_t body_limit(const config::ServerConfig& config, std::string_view method,
                    std::string_view path);

// Reads one HTTP/1.1 request within the limits of `config`, which outlives it. Pure: no socket, no
// clock. What RFC 9112 lets be read in two ways is refused, so that nobody in front of the server
// can see other requests than it does.
class RequestReader {
 public:
  enum class State : uint8_t {
    kHead,     // Wants the request line and the header.
    kBody,     // The head is known, wants the body.
    kDone,     // take() gives the request.
    kRefused,  // refusal() says why.
  };

  explicit RequestReader(const config::ServerConfig& config);
  ~RequestReader();

  // Takes bytes that belong to this request; returns how many. What it leaves is given again with
  // more behind it, or belongs to the next request. Stops once after the head, when the state has
  // become kBody, so that a body may be refused before it is read.
  size_t put(std::string_view bytes);

  State state() const { return state_; }
  // Whether anything but empty lines has come.
  bool begun() const { return begun_; }
  const Refusal& refusal() const { return refusal_; }

  // From kBody on; when refused, as far as it was read. Without the body.
  const Request& head() const { return head_; }
  std::string_view target() const { return target_; }  // As it was sent.
  unsigned version() const { return version_; }        // 10 or 11.
  bool keep_alive() const { return keep_alive_; }
  bool expects_continue() const { return expects_continue_; }
  int64_t body_bytes() const;  // Bytes of what has been read.

  // The request, once kDone.
  Request take();

 private:
  struct Parser;
  size_t put_head(std::string_view bytes);
  size_t put_body(std::string_view bytes);
  void read_head();
  void refuse(int status, std::string message);

  const config::ServerConfig& config_;
  std::unique_ptr<Parser> parser_;
  State state_ = State::kHead;
  bool begun_ = false;
  Refusal refusal_;
  Request head_;
  std::string target_;
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool expects_continue_ = false;
  uint64_t body_bytes_max_ = 0;
};

}  // namespace altlas::server
