#include "text/template/arguments.h"

namespace altlas::text {

const Value* Arguments::get(size_t position, std::string_view name) const {
  if (position < positional.size()) return &positional[position];
  for (const auto& [key, value] : named)
    if (key == name) return &value;
  return nullptr;
}
const TaggedText* Arguments::text(size_t position, std::string_view name) const {
  const Value* value = get(position, name);
  return value != nullptr && value->is_string() ? &value->text() : nullptr;
}
int64_t Arguments::integer(size_t position, std::string_view name, int64_t fallback) const {
  const Value* value = get(position, name);
  return value != nullptr && value->is_integral() ? value->as_int() : fallback;
}
bool Arguments::truth(size_t position, std::string_view name, bool fallback) const {
  const Value* value = get(position, name);
  return value != nullptr ? value->truthy() : fallback;
}

}  // namespace altlas::text
