// Server-sent events as they come off a connection (HTML standard, section 9.2).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::client {

inline constexpr size_t kSseEventBytesMax = size_t{16} << 20;

struct SseEvent {
  std::string event;  // Empty where the stream names none.
  std::string data;   // Lines joined by '\n'.
  std::string id;
};

// Gives whole events, whatever the pieces. One thread at a time.
class SseParser {
 public:
  // False: the caller wants no more.
  using OnEvent = std::function<bool(const SseEvent&)>;

  // Calls `on_event` for every event that `bytes` complete. Returns false once on_event did.
  // Errors: kTooLarge for an event beyond kSseEventBytesMax.
  Result<bool> push(std::string_view bytes, const OnEvent& on_event);

 private:
  bool take_line(std::string_view line, const OnEvent& on_event);

  std::string line_;
  bool after_return_ = false;  // The last byte was '\r': a '\n' now belongs to it.
  bool first_ = true;          // For the stream: a byte order mark is dropped.
  bool has_data_ = false;
  SseEvent event_;
};

}  // namespace altlas::client
