#include "text/stop.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"

namespace altlas::text {

Result<StopStrings> StopStrings::create(std::vector<std::string> strings) {
  if (strings.size() > kStopStringsMax)
    return invalid(
        fmt::format("{} stop strings; at most {} are allowed", strings.size(), kStopStringsMax),
        "stop");
  size_t bytes = 0;
  for (const std::string& text : strings) bytes += text.size();
  if (bytes > kStopBytesMax)
    return invalid(fmt::format("stop strings of {} bytes in all; at most {} are allowed", bytes,
                               kStopBytesMax),
                   "stop");
  StopStrings made;
  for (std::string& text : strings) {
    if (text.empty()) return invalid("a stop string must not be empty", "stop");
    if (text.size() > kStopStringBytesMax)
      return invalid(fmt::format("a stop string of {} bytes; at most {} are allowed", text.size(),
                                 kStopStringBytesMax),
                     "stop");
    if (!is_valid_utf8(text)) return invalid("a stop string must be valid UTF-8", "stop");
    Matcher matcher;
    matcher.fallback.resize(text.size() + 1);
    for (size_t i = 1, border = 0; i < text.size(); ++i) {
      while (border > 0 && text[i] != text[border]) border = matcher.fallback[border];
      if (text[i] == text[border]) ++border;
      matcher.fallback[i + 1] = static_cast<uint16_t>(border);
    }
    matcher.text = std::move(text);
    made.matchers_.push_back(std::move(matcher));
  }
  return made;
}

StopStrings::Step StopStrings::push(std::string_view text) {
  Step step;
  if (stopped_) return step;
  if (matchers_.empty()) {
    step.emit = text;
    return step;
  }
  for (const char byte : text) {
    held_ += byte;
    size_t stop_bytes = 0;
    for (size_t i = 0; i < matchers_.size(); ++i) {
      Matcher& m = matchers_[i];
      while (m.matched > 0 && m.text[m.matched] != byte) m.matched = m.fallback[m.matched];
      if (m.text[m.matched] == byte) ++m.matched;
      if (m.matched < m.text.size() || m.text.size() <= stop_bytes) continue;
      stop_bytes = m.text.size();
      step.which = static_cast<int32_t>(i);
    }
    if (stop_bytes == 0) continue;
    stopped_ = step.stopped = true;
    step.emit = held_.substr(0, held_.size() - stop_bytes);
    held_.clear();
    return step;
  }
  size_t hold = 0;
  for (const Matcher& m : matchers_) hold = std::max<size_t>(hold, m.matched);
  step.emit = held_.substr(0, held_.size() - hold);
  held_.erase(0, held_.size() - hold);
  return step;
}

std::string StopStrings::flush() {
  for (Matcher& m : matchers_) m.matched = 0;
  return std::exchange(held_, "");
}

}  // namespace altlas::text
