// Logging to standard error: one line per event, level by name. The library behind it stays in
// log.cc.
#pragma once

#include <fmt/format.h>  // Stands in for <format>, which libstdc++ 12 lacks.
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::log {

enum class Level { kTrace, kDebug, kInfo, kWarn, kError };

// "trace", "debug", "info", "warn" (or "warning"), "error".  Errors: kInvalid, naming them.
Result<Level> parse_level(std::string_view name);
// Any thread.
void set_level(Level level);
bool enabled(Level level);
// Writes one line, line breaks in `message` escaped. Any thread.
void write(Level level, std::string_view message);

template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo)) write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kWarn)) write(Level::kWarn, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kError))
    write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug))
    write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace altlas::log
