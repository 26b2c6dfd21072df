#include "server/json_reader.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>
#include <cmath>

#include "base/byte_order_mark.h"
#include "base/units.h"
#include "base/utf8.h"

namespace altlas::server {

namespace json = boost::json;

namespace {
std::string_view kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "a list";
    case json::kind::object:
      return "an object";
  }
  return "a value";
}

// Replaces halves of characters by U+FFFD, as other parsers do. Texts that were cut in the middle
// have them as the escapes \uD800 … \uDFFF, and JSON's grammar allows them.
std::string without_halves(std::string_view text) {
  constexpr std::string_view kReplacement = "\\uFFFD";
  // Returns the half's code, or 0 if there is none.
  const auto half_at = [&](size_t at) -> uint32_t {
    if (text.size() - std::min(at, text.size()) < 6 || text.substr(at, 2) != "\\u") return 0;
    uint32_t code = 0;
    const char* end = text.data() + at + 6;
    const auto [stop, error] = std::from_chars(text.data() + at + 2, end, code, 16);
    return error == std::errc() && stop == end && code >= 0xD800 && code <= 0xDFFF ? code : 0;
  };
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const uint32_t half = text[at] == '\\' ? half_at(at) : 0;
    const bool pair = half != 0 && half < 0xDC00 && half_at(at + 6) >= 0xDC00;
    const size_t length = pair ? 12 : half != 0 ? 6 : text[at] == '\\' ? 2 : 1;
    out += half != 0 && !pair ? kReplacement : text.substr(at, length);
    at += length;
  }
  return out;
}

Result<json::value> parse_text(std::string_view text, size_t depth_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::stream_parser parser({}, options);
  boost::system::error_code code;
  const size_t used = parser.write_some(text, code);
  if (!code && used < text.size()) {
    const std::string_view rest = text.substr(used);
    if (rest.find_first_not_of(" \t\r\n") != std::string_view::npos) code = json::error::extra_data;
  }
  if (!code) parser.finish(code);
  if (code) {
    return invalid(fmt::format(
        "the body is not valid JSON: {} near byte {}{}", code.message(), used,
        code == json::error::too_deep ? fmt::format(" (at most {} levels)", depth_max) : ""))
        .with_reason(kInvalidJson);
  }
  return parser.release();
}
}  // namespace

Result<json::value> parse_json(std::string_view text, size_t depth_max) {
  ALTLAS_TRY(text, skip_byte_order_mark(text, "the body"));
  if (text.empty()) return invalid("the body is empty: send a JSON object").with_reason(kInvalidJson);
  auto parsed = parse_text(text, depth_max);
  if (parsed.ok()) return parsed;
  if (!is_valid_utf8(text))
    return invalid("the body is not UTF-8: it should be").with_reason(kUnsupportedEncoding);
  const std::string whole = without_halves(text);
  return whole == text ? std::move(parsed) : parse_text(whole, depth_max);
}

Result<json::object> parse_object(std::string_view text, size_t depth_max) {
  ALTLAS_TRY(json::value value, parse_json(text, depth_max));
  if (!value.is_object())
    return invalid(fmt::format("the body is {}: send a JSON object", kind_name(value)))
        .with_reason(kInvalidJson);
  return std::move(value.get_object());
}

const json::value* JsonReader::value(std::string_view name) const {
  const json::value* found = object_.if_contains(name);
  return found == nullptr || found->is_null() ? nullptr : found;
}

bool JsonReader::has(std::string_view name) const { return value(name) != nullptr; }

std::string JsonReader::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

void JsonReader::fail(std::string_view name, std::string message, std::string_view reason) {
  if (error_) return;
  const std::string path = path_of(name);
  error_ = invalid(fmt::format("{}: {}", path, message), path).with_reason(reason);
}

void JsonReader::fail_kind(std::string_view name, const json::value& found,
                           std::string_view wanted) {
  fail(name, fmt::format("is {}, should be {}", kind_name(found), wanted), kInvalidType);
}

Result<void> JsonReader::status() const {
  if (error_) return *error_;
  return {};
}

std::optional<std::string> JsonReader::optional_text(std::string_view name) {
  const json::value* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_string()) {
    fail_kind(name, *found, "a string");
    return std::nullopt;
  }
  return std::string(found->get_string());
}

std::string JsonReader::text(std::string_view name, std::string fallback) {
  auto found = optional_text(name);
  return found ? std::move(*found) : std::move(fallback);
}

std::string JsonReader::required_text(std::string_view name) {
  if (!has(name)) fail(name, "is missing, should be a string", kMissingParameter);
  return text(name, "");
}

std::optional<int64_t> whole_number(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_double() && value.get_double() == std::floor(value.get_double()) &&
      std::fabs(value.get_double()) < 0x1p53)
    return static_cast<int64_t>(value.get_double());
  return std::nullopt;
}

std::optional<int64_t> JsonReader::optional_integer(std::string_view name, int64_t min,
                                                    int64_t max) {
  const json::value* found = value(name);
  if (found == nullptr) return std::nullopt;
  const std::optional<int64_t> got = whole_number(*found);
  if (!got) {
    if (found->is_uint64())
      fail(name, fmt::format("is {}, should be from {} to {}", found->get_uint64(), min, max));
    else
      fail_kind(name, *found, "an integer");
    return std::nullopt;
  }
  if (*got < min || *got > max) {
    fail(name, max == INT64_MAX ? fmt::format("is {}, should be at least {}", *got, min)
                                : fmt::format("is {}, should be from {} to {}", *got, min, max));
    return std::nullopt;
  }
  return got;
}

int64_t JsonReader::integer(std::string_view name, int64_t fallback, int64_t min, int64_t max) {
  return optional_integer(name, min, max).value_or(fallback);
}

uint64_t JsonReader::unsigned_integer(std::string_view name, uint64_t fallback) {
  const json::value* found = value(name);
  if (found == nullptr) return fallback;
  if (found->is_uint64()) return found->get_uint64();
  return static_cast<uint64_t>(integer(name, static_cast<int64_t>(fallback), 0, INT64_MAX));
}

double JsonReader::number(std::string_view name, double fallback, double min, double max) {
  const json::value* found = value(name);
  if (found == nullptr) return fallback;
  if (!found->is_number()) {
    fail_kind(name, *found, "a number");
    return fallback;
  }
  const double got = found->to_number<double>();
  if (!(got >= min && got <= max)) {
    fail(name, fmt::format("is {}, should be from {} to {}", got, min, max));
    return fallback;
  }
  return got + 0.0;  // Adding 0 turns -0 into 0.
}

bool JsonReader::boolean(std::string_view name, bool fallback) {
  const json::value* found = value(name);
  if (found == nullptr) return fallback;
  if (!found->is_bool()) {
    fail_kind(name, *found, "true or false");
    return fallback;
  }
  return found->get_bool();
}

std::vector<std::string> JsonReader::texts(std::string_view name, size_t max, size_t length_max) {
  const json::value* found = value(name);
  std::vector<std::string> out;
  if (found == nullptr) return out;
  const auto take = [&](const json::value& item) {
    if (!item.is_string())
      return fail(
          name, fmt::format("holds {}, should be a string or a list of strings", kind_name(item)),
          kInvalidType);
    if (item.get_string().empty())
      return fail(name, "holds an empty string, each must have at least one character");
    if (item.get_string().size() > length_max)
      return fail(name, fmt::format("holds a string of {} bytes, at most {} are allowed",
                                    item.get_string().size(), length_max));
    out.emplace_back(item.get_string());
  };
  if (found->is_array()) {
    if (found->get_array().size() > max)
      fail(name,
           fmt::format("has {} strings, at most {} are allowed", found->get_array().size(), max));
    else
      for (const json::value& item : found->get_array()) take(item);
  } else {
    if (!found->is_string() || !found->get_string().empty()) take(*found);
  }
  return out;
}

const json::object* JsonReader::object(std::string_view name) {
  const json::value* found = value(name);
  if (found == nullptr || found->is_object())
    return found == nullptr ? nullptr : &found->get_object();
  fail_kind(name, *found, "an object");
  return nullptr;
}

const json::array* JsonReader::array(std::string_view name) {
  const json::value* found = value(name);
  if (found == nullptr || found->is_array())
    return found == nullptr ? nullptr : &found->get_array();
  fail_kind(name, *found, "a list");
  return nullptr;
}

size_t JsonReader::choice(std::string_view name, std::span<const std::string_view> names,
                          size_t fallback) {
  const auto got = optional_text(name);
  if (!got) return fallback;
  std::string all;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == *got) return i;
    all += (i == 0 ? "" : ", ") + std::string(names[i]);
  }
  const std::string_view near = did_you_mean(*got, names.data(), names.size());
  fail(name, fmt::format("is '{}', should be one of {}{}", got->substr(0, 64), all,
                         near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
  return fallback;
}

}  // namespace altlas::server
