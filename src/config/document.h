// A parsed configuration text before it has types: scalars, lists and maps, each with its place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::config {

// Bounds of a configuration text; a text beyond one is an error that names it.
inline constexpr size_t kTextBytesMax = 1 << 20;
inline constexpr size_t kDepthMax = 32;
inline constexpr size_t kValuesMax = 100'000;  // Aliases count as what they stand for.

struct Node {
  enum class Kind : uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string text;     // The text of a scalar, as written.
  bool quoted = false;  // A quoted scalar is text, whatever it looks like.
  std::vector<Node> children;
  int line = 0;  // From 1; 0 where there is no text.
  int column = 0;
  std::string key;  // In a map.
  int key_line = 0;
  int key_column = 0;
};

struct SyntaxError {
  int line = 0;
  int column = 0;
  std::string what;
};

struct Parsed {
  Node root;
  std::vector<SyntaxError> errors;
};

// One YAML document (JSON is YAML too). Never throws; keys that occur twice, non-text keys, tags,
// cyclic aliases and anything beyond the bounds above are errors.
Parsed parse_yaml(std::string_view text);
// JSON of a request body, without places. Errors: kInvalid with the reason.
Result<Node> parse_json(std::string_view text);
// The value as JSON: unquoted true, false, null and numbers keep their type, other scalars become
// strings.
std::string to_json(const Node& node);
// `text` as a JSON string with its quotes.
std::string json_quote(std::string_view text);

}  // namespace altlas::config
