// Arguments of a call in a chat template.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template/value.h"

namespace altlas::text {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The argument at `position`, or of that name; null if neither was given.
  const Value* get(size_t position, std::string_view name) const;
  // The same for a string that may be missing: empty pointer if missing or not a string.
  const TaggedText* text(size_t position, std::string_view name) const;
  int64_t integer(size_t position, std::string_view name, int64_t fallback) const;
  bool truth(size_t position, std::string_view name, bool fallback) const;
};

}  // namespace altlas::text
