// read_fields(): a request body into its struct, row by row. An overload of read_value() for each
// kind of field; body/schema.h describes the same kinds.
#pragma once

#include <cmath>
#include <concepts>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "server/body/field.h"
#include "server/json_reader.h"
#include "task/task.h"

namespace altlas::server {

// Fills `body` from the reader's object; what is absent or null keeps its default. The first thing
// that is wrong goes into `reader`, in the order of the rows. Raw values of JSON point into the
// object. `now`: settings that limit fields.
template <HasFields Body>
void read_fields(JsonReader& reader, Body& body, const config::Config& now);

// The whole numbers that a field of type T takes.
template <std::integral T>
constexpr std::pair<int64_t, int64_t> range_of(const BodyField& info) {
  constexpr auto kLimit = std::numeric_limits<int64_t>::max();
  const int64_t least = static_cast<int64_t>(std::numeric_limits<T>::min());
  const int64_t most = std::in_range<int64_t>(std::numeric_limits<T>::max())
                           ? static_cast<int64_t>(std::numeric_limits<T>::max())
                           : kLimit;
  return {std::isinf(info.min) ? least : static_cast<int64_t>(info.min),
          std::isinf(info.max) ? most : static_cast<int64_t>(info.max)};
}

// The reader's field lacks what `info` needs.
void check_needed(JsonReader& reader, std::string_view name, const BodyField& info);
// Length and lines of a text that is there.
void check_text(JsonReader& reader, std::string_view name, std::string_view text,
                const BodyField& info);
// What was wrong in the object under `name`, with the path from the reader's own object.
void adopt(JsonReader& reader, const JsonReader& inner);

void read_value(JsonReader& reader, std::string_view name, std::optional<Strategy>& value,
                const BodyField& info, const config::Config& now);
void read_value(JsonReader& reader, std::string_view name, std::optional<Priority>& value,
                const BodyField& info, const config::Config& now);
// A device as an API names it: 0, "0" or "gpu_0".
void read_value(JsonReader& reader, std::string_view name, std::optional<DeviceId>& value,
                const BodyField& info, const config::Config& now);
void read_value(JsonReader& reader, std::string_view name, TokensMax& value, const BodyField& info,
                const config::Config& now);
void read_value(JsonReader& reader, std::string_view name, Refused& value, const BodyField& info,
                const config::Config& now);
// A state of tasks by its name.
void read_value(JsonReader& reader, std::string_view name, std::optional<TaskStatus>& value,
                const BodyField& info, const config::Config& now);
// The index into `names` of the field's text; `fallback` where it is absent.
size_t read_choice(JsonReader& reader, std::string_view name, std::span<const EnumName> names,
                   size_t fallback, const BodyField& info);

inline void read_value(JsonReader& reader, std::string_view name, bool& value, const BodyField&,
                       const config::Config&) {
  value = reader.boolean(name, value);
}

inline void read_value(JsonReader& reader, std::string_view name, std::optional<bool>& value,
                       const BodyField&, const config::Config&) {
  if (reader.has(name)) value = reader.boolean(name, false);
}

template <std::integral T>
void read_value(JsonReader& reader, std::string_view name, T& value, const BodyField& info,
                const config::Config&) {
  const auto [least, most] = range_of<T>(info);
  if (!info.needed.empty()) check_needed(reader, name, info);
  if constexpr (std::same_as<T, uint64_t>)
    value = reader.unsigned_integer(name, value);
  else
    value = static_cast<T>(reader.integer(name, value, least, most));
}

template <std::integral T>
void read_value(JsonReader& reader, std::string_view name, std::optional<T>& value,
                const BodyField& info, const config::Config&) {
  const auto [least, most] = range_of<T>(info);
  if (const auto got = reader.optional_integer(name, least, most)) value = static_cast<T>(*got);
}

template <std::floating_point T>
void read_value(JsonReader& reader, std::string_view name, T& value, const BodyField& info,
                const config::Config&) {
  value = static_cast<T>(reader.number(name, static_cast<double>(value), info.min, info.max));
}

template <std::floating_point T>
void read_value(JsonReader& reader, std::string_view name, std::optional<T>& value,
                const BodyField& info, const config::Config&) {
  if (reader.has(name)) value = static_cast<T>(reader.number(name, info.min, info.min, info.max));
}

inline void read_value(JsonReader& reader, std::string_view name, std::optional<std::string>& value,
                       const BodyField& info, const config::Config&) {
  if (auto text = reader.optional_text(name)) {
    check_text(reader, name, *text, info);
    value = std::move(text);
  }
}

inline void read_value(JsonReader& reader, std::string_view name, std::string& value,
                       const BodyField& info, const config::Config&) {
  if (auto text = reader.optional_text(name)) {
    check_text(reader, name, *text, info);
    value = *std::move(text);
  } else if (!info.needed.empty()) {
    check_needed(reader, name, info);
  }
}

inline void read_value(JsonReader& reader, std::string_view name, std::vector<std::string>& value,
                       const BodyField& info, const config::Config&) {
  value = reader.texts(name, info.items_max, static_cast<size_t>(info.max));
}

template <NamedEnum E>
void read_value(JsonReader& reader, std::string_view name, E& value, const BodyField& info,
                const config::Config&) {
  const std::span<const EnumName> names = names_of(E{});
  value = static_cast<E>(
      names[read_choice(reader, name, names, static_cast<size_t>(value), info)].value);
}

inline void read_value(JsonReader& reader, std::string_view name, const boost::json::value*& value,
                       const BodyField& info, const config::Config&) {
  value = reader.value(name);
  if (value == nullptr && !info.needed.empty()) check_needed(reader, name, info);
}

inline void read_value(JsonReader& reader, std::string_view name, const boost::json::array*& value,
                       const BodyField& info, const config::Config&) {
  value = reader.array(name);
  if (value == nullptr && !info.needed.empty()) check_needed(reader, name, info);
}

inline void read_value(JsonReader& reader, std::string_view name, const boost::json::object*& value,
                       const BodyField& info, const config::Config&) {
  value = reader.object(name);
  if (value == nullptr && !info.needed.empty()) check_needed(reader, name, info);
}

// An object with rows of its own.
template <HasFields T>
void read_value(JsonReader& reader, std::string_view name, std::optional<T>& value,
                const BodyField&, const config::Config& now) {
  const boost::json::object* object = reader.object(name);
  if (object == nullptr) return;
  JsonReader inner(*object, reader.path_of(name));
  read_fields(inner, value.emplace(), now);
  if (!inner.status().ok()) adopt(reader, inner);
}

// Calls read_value() for each row.
template <class Body>
struct FieldReader {
  JsonReader& reader;
  Body& body;
  const config::Config& now;

  void operator()(std::string_view name, auto member, const BodyField& info) const {
    for (const std::string_view other : info.other_names)
      if (!other.empty() && !reader.has(name) && reader.has(other)) name = other;
    read_value(reader, name, body.*member, info, now);
  }
  void operator()(auto member) const { read_fields(reader, body.*member, now); }
};

template <HasFields Body>
void read_fields(JsonReader& reader, Body& body, const config::Config& now) {
  const FieldReader<Body> each{reader, body, now};
  Body::fields(each);
}

}  // namespace altlas::server
