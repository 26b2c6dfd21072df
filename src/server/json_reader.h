// JsonReader: typed fields out of a request body; the first thing that is wrong becomes the error,
// with its field's path.
#pragma once

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::server {

// Error::reason() of what a request lacks or has of the wrong kind; OpenAI's words.
inline constexpr std::string_view kInvalidJson = "invalid_json";
inline constexpr std::string_view kInvalidType = "invalid_type";
inline constexpr std::string_view kMissingParameter = "missing_required_parameter";

// Parses one JSON document: UTF-8 only, at most `depth_max` levels; a byte order mark before it is
// skipped.  Errors: kInvalid, saying where.
Result<boost::json::value> parse_json(std::string_view text, size_t depth_max);
// As parse_json, for a body that must be an object.
Result<boost::json::object> parse_object(std::string_view text, size_t depth_max);

// 2.0 and 2e0 are 2; none of what is no whole number, or one that doubles do not tell apart.
std::optional<int64_t> whole_number(const boost::json::value& value);

// Reads fields of one object. Fields nobody asks for are ignored; null means absent. After the
// first error every call returns its default, and status() tells.
class JsonReader {
 public:
  // `object` outlives the reader. `path`: where it stands in the body ("batch[3]"), empty for the
  // body itself.
  explicit JsonReader(const boost::json::object& object, std::string path = "")
      : object_(object), path_(std::move(path)) {}

  bool has(std::string_view name) const;  // Present and not null.
  std::string text(std::string_view name, std::string fallback);
  std::string required_text(std::string_view name);
  std::optional<std::string> optional_text(std::string_view name);
  int64_t integer(std::string_view name, int64_t fallback, int64_t min, int64_t max);
  std::optional<int64_t> optional_integer(std::string_view name, int64_t min, int64_t max);
  uint64_t unsigned_integer(std::string_view name, uint64_t fallback);
  double number(std::string_view name, double fallback, double min, double max);
  bool boolean(std::string_view name, bool fallback);
  // One string, or a list of at most `max` strings, each of at most `length_max` bytes and not
  // empty; an empty string by itself is none, as clients' forms send it.
  std::vector<std::string> texts(std::string_view name, size_t max, size_t length_max);
  // Null if absent or not of the kind (then status() tells).
  const boost::json::object* object(std::string_view name);
  const boost::json::array* array(std::string_view name);
  const boost::json::value* value(std::string_view name) const;
  // One of `names`; the index. `fallback` when absent.
  size_t choice(std::string_view name, std::span<const std::string_view> names, size_t fallback);

  std::string path_of(std::string_view name) const;
  // `reason`: Error::reason(), empty for a wrong value.
  void fail(std::string_view name, std::string message, std::string_view reason = "");
  // Of a value of another kind: "is an integer, should be `wanted`".
  void fail_kind(std::string_view name, const boost::json::value& found, std::string_view wanted);
  Result<void> status() const;

 private:
  const boost::json::object& object_;
  std::string path_;
  std::optional<Error> error_;
};

}  // namespace altlas::server
