// Client: requests to a running altlas server (or any HTTP server), one at a time over one kept
// connection.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "client/sse.h"

namespace altlas::client {

inline constexpr uint64_t kAnswerBytesMax = uint64_t{256} << 20;

struct Options {
  std::string key;        // Sent as `Authorization: Bearer KEY`; empty: none.
  std::string ca_file;    // PEM of the authorities to trust; empty: the system's.
  bool insecure = false;  // TLS without verifying the server's certificate.
  // TCP and TLS together; the name's lookup is the system's business.
  int64_t connect_timeout_ms = 10'000;
  int64_t timeout_ms = 120'000;  // Between two arrivals of bytes.
};

struct Answer {
  int status = 0;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool ok() const { return status >= 200 && status < 300; }
  // Empty if there is none. Case does not matter.
  std::string_view header(std::string_view name) const;
};
// What a refusal says, as an Error: the message of {"error": "…"} or {"error": {"message": "…"}},
// the code of its status.
Error error_of(const Answer& answer);

// Threads: one at a time. Movable.
class Client {
 public:
  // http://HOST[:PORT][/PREFIX] or https://…; connects at once.
  // Errors: kInvalid for a bad URL, key or certificate file; kUnavailable, naming host and port and
  // what would help.
  static Result<Client> connect(std::string_view url, Options options);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // `path` starts with '/' and may carry a query. A status of 400 and more is an Answer, too. A
  // connection that the server has closed meanwhile is opened again; a request that was sent is
  // never sent twice. Errors: kInvalid for what is no path, kUnavailable (no connection), kIo (it
  // broke), kDeadline (silence for timeout_ms), kTooLarge.
  Result<Answer> get(std::string_view path);
  Result<Answer> post(std::string_view path, std::string json);
  Result<Answer> put(std::string_view path, std::string json);
  Result<Answer> del(std::string_view path);

  // POST (GET where `json` is empty) whose answer is a stream of events; `on_event` returns false
  // to end it, which closes the connection. An answer that is no event stream, such as a refusal,
  // comes back with its body instead.
  Result<Answer> stream(std::string_view path, std::string json,
                        const SseParser::OnEvent& on_event);

  // "127.0.0.1:8000".
  const std::string& authority() const;

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace altlas::client
