#include "base/ids.h"

#include <cstdio>

namespace altlas {
std::string to_string(const TaskId& id) {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(id.high),
                static_cast<unsigned long long>(id.low));
  return text;
}

std::optional<TaskId> parse_task_id(std::string_view text) {
  if (text.size() != 32) return std::nullopt;
  uint64_t half[2] = {0, 0};
  for (size_t i = 0; i < 32; ++i) {
    const char c = text[i];
    uint64_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<uint64_t>(c - 'a') + 10;
    } else {
      return std::nullopt;
    }
    half[i / 16] = half[i / 16] << 4 | digit;
  }
  return TaskId{half[0], half[1]};
}
}  // namespace altlas
