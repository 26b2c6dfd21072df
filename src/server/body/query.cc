#include "server/body/query.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <utility>

namespace altlas::server {

namespace json = boost::json;

namespace {

// Reads a number that is the whole text.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Returns null where the text is no value of the kind.
json::value value_of(std::string_view text, QueryKind kind) {
  if (kind == QueryKind::kText) return json::value(text);
  if (kind == QueryKind::kInteger) {
    const auto value = parse_number<int64_t>(text);
    return value ? json::value(*value) : json::value(nullptr);
  }
  const auto value = parse_number<double>(text);
  return value && std::isfinite(*value) ? json::value(*value) : json::value(nullptr);
}

}  // namespace

void QueryValues::add(std::string_view name, QueryKind kind, const BodyField& info) {
  const auto text = request_.query_value(name);
  if (!text || wrong_) return;
  const auto fail = [&](std::string_view wanted) {
    wrong_ = invalid(fmt::format("{}: '{}' should be {}", name, text->substr(0, 32), wanted),
                     std::string(name));
  };
  json::value value = value_of(*text, kind);
  if (value.is_null()) return fail(kind == QueryKind::kInteger ? "an integer" : "a number");
  if (!info.choices.empty() && std::ranges::find(info.choices, *text) == info.choices.end())
    return fail(fmt::format("one of {}", fmt::join(info.choices, ", ")));
  object_[name] = std::move(value);
}

Result<json::object> QueryValues::take() {
  if (wrong_) return *wrong_;
  return std::move(object_);
}

}  // namespace altlas::server
