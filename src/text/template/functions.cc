#include "text/template/functions.h"

#include <fmt/format.h>

#include <ctime>
#include <string>
#include <vector>

namespace altlas::text {

namespace {

constexpr size_t kTimeFormatBytesMax = 256;

Result<Value> range(Rendering& rendering, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3) return rendering.fail("range() takes 1 to 3 integers");
  for (const Value& value : given)
    if (!value.is_integral())
      return rendering.fail(fmt::format("range() takes integers, not {}", value.kind_name()));
  const int64_t from = given.size() > 1 ? given[0].as_int() : 0;
  const int64_t to = given.size() > 1 ? given[1].as_int() : given[0].as_int();
  const int64_t step = given.size() > 2 ? given[2].as_int() : 1;
  if (step == 0) return rendering.fail("range()'s step must not be 0");
  const bool any = step > 0 ? from < to : from > to;
  const uint64_t distance = any ? step > 0 ? static_cast<uint64_t>(to) - static_cast<uint64_t>(from)
                                           : static_cast<uint64_t>(from) - static_cast<uint64_t>(to)
                                : 0;
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  ALTLAS_TRY_VOID(rendering.reserve_items(any ? (distance - 1) / stride + 1 : 0));
  std::vector<Value> items;
  for (int64_t i = from; step > 0 ? i < to : i > to;) {
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(items));
}

Result<Value> format_time(Rendering& rendering, const Arguments& arguments) {
  const TaggedText* format = arguments.text(0, "format");
  if (format == nullptr || format->bytes.size() > kTimeFormatBytesMax)
    return rendering.fail(
        fmt::format("strftime_now() takes a format of at most {} bytes", kTimeFormatBytesMax));
  const std::time_t seconds = rendering.now_us() / 1'000'000;
  std::tm parts{};
  if (gmtime_r(&seconds, &parts) == nullptr)
    return rendering.fail("strftime_now() has no valid time");
  char buffer[8 * kTimeFormatBytesMax];
  const size_t size = std::strftime(buffer, sizeof buffer, format->bytes.c_str(), &parts);
  return Value::trusted(std::string_view(buffer, size));
}

// Merges objects given by position first, then named values.
Result<Value> make_object(Rendering& rendering, const Arguments& arguments) {
  std::vector<Value::Entry> entries;
  for (const Value& value : arguments.positional) {
    if (!value.is_object()) return rendering.fail("dict() takes objects and named values");
    ALTLAS_TRY_VOID(rendering.reserve_items(2 * value.entries().size()));
    entries.insert(entries.end(), value.entries().begin(), value.entries().end());
  }
  for (const auto& [name, value] : arguments.named)
    entries.emplace_back(Value::trusted(name), value);
  return Value::object(std::move(entries));
}

Result<Value> object_method(Rendering& rendering, const Value& object, std::string_view name,
                            const Arguments& arguments) {
  if (name == "get") {
    const Value* key = arguments.get(0, "key");
    if (key == nullptr) return rendering.fail("get() takes a key");
    const Value* found = key->is_string() ? object.find(key->view()) : nullptr;
    const Value* fallback = arguments.get(1, "default");
    return found != nullptr ? *found : fallback != nullptr ? *fallback : Value();
  }
  if (name == "copy") return object;
  ALTLAS_TRY_VOID(rendering.reserve_items(4 * object.entries().size()));
  std::vector<Value> items;
  for (const auto& [key, value] : object.entries())
    items.push_back(name == "keys"     ? key
                    : name == "values" ? value
                                       : Value::list({key, value}, /*is_tuple=*/true));
  return Value::list(std::move(items));
}

Result<Value> list_method(Rendering& rendering, const Value& list, std::string_view name,
                          const Arguments& arguments) {
  const Value* sought = arguments.get(0, "value");
  if (sought == nullptr) return rendering.fail(fmt::format("{}() takes a value", name));
  int64_t count = 0;
  for (size_t i = 0; i < list.items().size(); ++i) {
    if (!equal(list.items()[i], *sought, rendering.budget())) continue;
    if (name == "index") return Value(static_cast<int64_t>(i));
    ++count;
  }
  if (name == "index") return rendering.fail("index(): the value is not in the list");
  return Value(count);
}

}  // namespace

Result<Value> call_global(Rendering& rendering, std::string_view name, const Arguments& arguments) {
  if (name == "range") return range(rendering, arguments);
  if (name == "strftime_now") return format_time(rendering, arguments);
  if (name == "dict") return make_object(rendering, arguments);
  if (name == "raise_exception") {
    const TaggedText* message = arguments.text(0, "message");
    return invalid(
        fmt::format("the model's chat template refuses these messages: {}",
                    message != nullptr ? std::string_view(message->bytes) : "no reason given"),
        "messages");
  }
  return rendering.fail(fmt::format("unknown function '{}'", name));
}

Result<Value> call_method(Rendering& rendering, const Value& receiver, std::string_view name,
                          const Arguments& arguments) {
  if (receiver.is_object()) return object_method(rendering, receiver, name, arguments);
  if (receiver.is_list()) return list_method(rendering, receiver, name, arguments);
  rendering.budget().spend(receiver.view().size() / 16);
  ALTLAS_TRY_VOID(rendering.check_budget());
  return call_string_method(rendering, receiver.text(), name, arguments);
}

}  // namespace altlas::text
