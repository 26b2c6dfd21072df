// Server-sent events (HTML standard, section 9.2): one `data:` line per event.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/http/http.h"

namespace altlas::server {

// `data` holds no line break (serialised JSON does not).
inline std::string sse_event(std::string_view data) {
  std::string event = "data: ";
  event += data;
  event += "\n\n";
  return event;
}

// As sse_event(), with the id that a client names as Last-Event-ID where it goes on later.
inline std::string sse_event(std::string_view data, uint64_t id) {
  return "id: " + std::to_string(id) + "\n" + sse_event(data);
}

inline Response sse_response() {
  Response response;
  response.content_type = "text/event-stream";
  response.headers.emplace_back("Cache-Control", "no-cache");
  response.headers.emplace_back("X-Accel-Buffering", "no");
  return response;
}

}  // namespace altlas::server
