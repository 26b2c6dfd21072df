// Requests and responses as handlers see them: no Beast, no sockets.
#pragma once

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "config/names.h"
#include "server/http/request_memory.h"

namespace altlas::server {

// Who asks. With no key configured everybody is admin.
struct Identity {
  std::string name;
  Role role = Role::kAdmin;
};

// Tells a handler that its client has gone away. One per request; the connection fires it.
class Disconnect {
 public:
  Disconnect() = default;
  // `on_first` runs when the first callback is added: before, nobody needs to watch.
  explicit Disconnect(std::function<void()> on_first) : on_first_(std::move(on_first)) {}
  // Runs `callback` once, on the connection's executor, when the client goes away; at once if it
  // already has.
  void on_disconnect(std::function<void()> callback);
  void fire();
  bool fired() const;

 private:
  mutable std::mutex mutex_;
  bool fired_ = false;
  std::function<void()> on_first_;
  std::vector<std::function<void()>> callbacks_;
};

// Who waits for an answer, as far as the work for it goes on.
struct Asker {
  std::shared_ptr<Disconnect> disconnect;  // Null: nobody goes away.
  std::shared_ptr<MemoryLease> memory;     // Null: nothing is counted.
};

struct Request {
  std::string method;  // "GET".
  std::string path;    // Decoded, without the query: "/api/v1/task/abc".
  std::vector<std::pair<std::string, std::string>> query;  // Decoded.
  std::vector<std::pair<std::string, std::string>>
      parameters;  // From the route's pattern: {"id", "abc"}.
  std::string content_type;
  std::string content_encoding;
  std::string authorization;
  std::string accept;
  std::string accept_encoding;
  std::string if_none_match;
  std::string last_event_id;  // Last-Event-ID: the event behind which a stream goes on.
  std::string host;  // The host of the target or of Host; empty in HTTP/1.0 that names none.
  std::string origin;
  std::string cors_headers;  // Access-Control-Request-Headers.
  // Access-Control-Request-Private-Network: a page of the internet asks for this machine.
  bool cors_private_network = false;
  std::string request_id;  // The client's X-Request-Id, or ours.
  std::string body;
  Identity identity;
  TimeUs received = 0;
  std::shared_ptr<Disconnect> disconnect;
  std::shared_ptr<MemoryLease> memory;  // What the request takes of all requests' memory.
  bool background = false;              // For a batch: low priority, whatever the body says.

  Asker asker() const { return {disconnect, memory}; }
  // Empty where there is none.
  std::string_view parameter(std::string_view name) const;
  std::optional<std::string> query_value(std::string_view name) const;
};

// Writes one piece of a streamed body; an error means the client has gone away.
using WriteChunk = std::function<boost::asio::awaitable<Result<void>>(std::string)>;
// Produces a streamed body. Its errors end the connection.
using StreamBody = std::function<boost::asio::awaitable<void>(WriteChunk)>;

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  StreamBody stream;  // When set, `body` is not used.
  // What `stream` writes in all, where it is known before; else the transfer is chunked.
  std::optional<uint64_t> stream_bytes;
};

inline Response json_response(std::string body, int status = 200) {
  Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

}  // namespace altlas::server
