// Reading members of tokenizer.json with errors that name the place. Included by hf_*.cc only.
#pragma once

#include <fmt/format.h>

#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::text::hf {

namespace json = boost::json;

inline std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

// The member, null if it is absent or null.
inline const json::value* member(const json::object& object, std::string_view name) {
  const json::value* found = object.if_contains({name.data(), name.size()});
  return found == nullptr || found->is_null() ? nullptr : found;
}

// An object: `value` itself, or an error that names `where`.
inline Result<const json::object*> object_of(const json::value* value, std::string_view where) {
  if (value == nullptr || !value->is_object())
    return invalid(fmt::format("tokenizer.json: {} must be an object", where));
  return &value->get_object();
}

inline Result<std::string> string_or(const json::object& object, std::string_view name,
                                     std::string_view fallback, std::string_view where) {
  const json::value* found = member(object, name);
  if (found == nullptr) return std::string(fallback);
  if (!found->is_string())
    return invalid(fmt::format("tokenizer.json: {}.{} must be a string", where, name));
  return std::string(view(found->get_string()));
}

inline Result<bool> bool_or(const json::object& object, std::string_view name, bool fallback,
                            std::string_view where) {
  const json::value* found = member(object, name);
  if (found == nullptr) return fallback;
  if (!found->is_bool())
    return invalid(fmt::format("tokenizer.json: {}.{} must be true or false", where, name));
  return found->get_bool();
}

inline Result<int64_t> integer_or(const json::object& object, std::string_view name,
                                  int64_t fallback, std::string_view where) {
  const json::value* found = member(object, name);
  if (found == nullptr) return fallback;
  if (!found->is_int64())
    return invalid(fmt::format("tokenizer.json: {}.{} must be an integer", where, name));
  return found->get_int64();
}

// Errors: kInvalid for anything that is not base64.
Result<std::string> decode_base64(std::string_view text);

}  // namespace altlas::text::hf
