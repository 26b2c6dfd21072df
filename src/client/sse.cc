#include "client/sse.h"

#include <fmt/format.h>

namespace altlas::client {

bool SseParser::take_line(std::string_view line, const OnEvent& on_event) {
  if (first_ && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  first_ = false;
  if (line.empty()) {
    bool more = true;
    if (has_data_) more = on_event(event_);
    event_.event.clear();
    event_.data.clear();
    has_data_ = false;
    return more;
  }
  const size_t colon = line.find(':');
  if (colon == 0) return true;  // A line that begins with a colon is a comment.
  const std::string_view field = line.substr(0, colon);
  std::string_view value =
      colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
  } else if (field == "event") {
    event_.event = value;
  } else if (field == "id") {
    event_.id = value;
  }
  return true;
}

Result<bool> SseParser::push(std::string_view bytes, const OnEvent& on_event) {
  for (const char c : bytes) {
    const bool second_of_pair = after_return_ && c == '\n';
    after_return_ = c == '\r';
    if (second_of_pair) continue;
    if (c == '\n' || c == '\r') {
      const bool more = take_line(line_, on_event);
      line_.clear();
      if (!more) return false;
      continue;
    }
    if (line_.size() + event_.data.size() >= kSseEventBytesMax)
      return Error(ErrorCode::kTooLarge,
                   fmt::format("an event of the stream has more than {} bytes", kSseEventBytesMax));
    line_ += c;
  }
  return true;
}

}  // namespace altlas::client
