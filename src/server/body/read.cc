#include "server/body/read.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "base/utf8.h"

namespace altlas::server {

namespace json = boost::json;

void check_needed(JsonReader& reader, std::string_view name, const BodyField& info) {
  if (!reader.has(name))
    reader.fail(name, fmt::format("is missing, {}", info.needed), kMissingParameter);
}

void check_text(JsonReader& reader, std::string_view name, std::string_view text,
                const BodyField& info) {
  if (std::isinf(info.min) && std::isinf(info.max)) return;
  const bool bounded = !std::isinf(info.max);
  const size_t length = bounded ? count_code_points(text) : text.size();
  const bool breaks =
      info.one_line && text.find_first_of(std::string_view("\0\n\r", 3)) != text.npos;
  if (!breaks && !(static_cast<double>(length) < info.min) &&
      static_cast<double>(length) <= info.max)
    return;
  if (!bounded)
    reader.fail(name, "is empty, should have at least one character");
  else if (info.min > 0)
    reader.fail(name, fmt::format("should have {} to {} characters{}", info.min, info.max,
                                  info.one_line ? " in one line" : ""));
  else
    reader.fail(name, fmt::format("has {} characters, at most {} are taken", length, info.max));
}

void adopt(JsonReader& reader, const JsonReader& inner) {
  const auto status = inner.status();
  if (status.ok()) return;
  const std::string& text = status.error().message();  // The message begins with the whole path.
  std::string_view field = status.error().field();
  const std::string before = reader.path_of("");
  if (field.starts_with(before)) field.remove_prefix(before.size());
  reader.fail(field, text.substr(text.find(": ") + 2));
}

size_t read_choice(JsonReader& reader, std::string_view name, std::span<const EnumName> names,
                   size_t fallback, const BodyField& info) {
  if (!reader.has(name)) {
    if (!info.needed.empty()) check_needed(reader, name, info);
    return fallback;
  }
  std::vector<std::string_view> texts;
  for (const EnumName& row : names) texts.push_back(row.name);
  return reader.choice(name, texts, fallback);
}

void read_value(JsonReader& reader, std::string_view name, std::optional<Strategy>& value,
                const BodyField& info, const config::Config& now) {
  if (!reader.has(name)) {
    if (!info.needed.empty()) check_needed(reader, name, info);
    return;
  }
  const std::vector<Strategy>& allowed = now.gpu.multi_gpu.strategies;
  std::vector<std::string_view> names;
  for (const Strategy strategy : allowed) names.push_back(to_string(strategy));
  const size_t index = reader.choice(name, names, 0);
  if (reader.status().ok()) value = allowed[index];
}

void read_value(JsonReader& reader, std::string_view name, std::optional<Priority>& value,
                const BodyField& info, const config::Config&) {
  const json::value* given = reader.value(name);
  if (given == nullptr) return;
  if (info.levels && !given->is_string()) {
    const int64_t level = reader.integer(name, 0, INT32_MIN, INT32_MAX);
    value = level < 0 ? Priority::kHigh : level > 0 ? Priority::kLow : Priority::kNormal;
    return;
  }
  value = static_cast<Priority>(read_choice(reader, name, kPriorityNames, 0, info));
}

void read_value(JsonReader& reader, std::string_view name, std::optional<DeviceId>& value,
                const BodyField&, const config::Config&) {
  const json::value* given = reader.value(name);
  if (given == nullptr) return;
  int32_t id = -1;
  if (given->is_string()) {
    std::string_view text = given->get_string();
    if (text.starts_with("gpu_")) text.remove_prefix(4);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size() || id < 0)
      return reader.fail(name, fmt::format("is '{}', should be a device id such as 0 or \"gpu_0\"",
                                           std::string_view(given->get_string()).substr(0, 32)));
    value = DeviceId{id};
  } else if (const auto number = reader.optional_integer(name, 0, INT32_MAX)) {
    value = DeviceId{static_cast<int32_t>(*number)};
  }
}

void read_value(JsonReader& reader, std::string_view name, TokensMax& value, const BodyField& info,
                const config::Config&) {
  const auto tokens = reader.optional_integer(name, -2, INT32_MAX);
  if (!tokens) return;
  if (*tokens >= 0 && static_cast<double>(*tokens) < info.min)
    reader.fail(name, fmt::format("is {}, should be from {} to {}, or -1: what the model has left",
                                  *tokens, info.min, INT32_MAX));
  value.tokens = *tokens < 0 ? std::nullopt : tokens;
}

void read_value(JsonReader& reader, std::string_view name, Refused&, const BodyField& info,
                const config::Config&) {
  if (reader.has(name)) reader.fail(name, std::string(info.refused));
}

void read_value(JsonReader& reader, std::string_view name, std::optional<TaskStatus>& value,
                const BodyField&, const config::Config&) {
  const auto text = reader.optional_text(name);
  if (!text) return;
  value = parse_task_status(*text);
  if (value) return;
  std::string names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(TaskStatus::kCanceled); ++i)
    names += (i == 0 ? "" : ", ") + std::string(to_string(static_cast<TaskStatus>(i)));
  reader.fail(name, fmt::format("'{}' should be one of {}", text->substr(0, 32), names));
}

}  // namespace altlas::server
