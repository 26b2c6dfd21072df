#include "text/json_text.h"

#include <boost/json.hpp>
#include <charconv>
#include <cmath>

namespace altlas::text {
namespace {

namespace json = boost::json;

void put(std::string& out, const json::value& value);

void put(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  const std::string_view text(digits, static_cast<size_t>(end - digits));
  out += text;
  // The point keeps it a float.
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void put(std::string& out, const json::string& text) { out += json::serialize(text); }

void put(std::string& out, const json::array& array) {
  out += '[';
  for (bool first = true; const json::value& item : array) {
    if (!first) out += ',';
    first = false;
    put(out, item);
  }
  out += ']';
}

void put(std::string& out, const json::object& object) {
  out += '{';
  for (bool first = true; const auto& [key, item] : object) {
    if (!first) out += ',';
    first = false;
    out += json::serialize(json::string_view(key));
    out += ':';
    put(out, item);
  }
  out += '}';
}

void put(std::string& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::object:
      return put(out, value.get_object());
    case json::kind::array:
      return put(out, value.get_array());
    case json::kind::string:
      return put(out, value.get_string());
    case json::kind::double_:
      return put(out, value.get_double());
    case json::kind::int64:
      out += std::to_string(value.get_int64());
      return;
    case json::kind::uint64:
      out += std::to_string(value.get_uint64());
      return;
    case json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      return;
    case json::kind::null:
      out += "null";
  }
}

}  // namespace

std::string json_text(const json::value& value) {
  std::string out;
  put(out, value);
  return out;
}

std::string json_text(const json::object& object) {
  std::string out;
  put(out, object);
  return out;
}

}  // namespace altlas::text
