// FieldInfo: what is said about a field of a request body beside its name and kind. From the rows
// of a body's fields() come its reader, its schema, docs/api.md and the words of json_body_fuzz.
#pragma once

#include <boost/json/fwd.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

#include "config/config.h"

namespace altlas::server {

// One row of a body's fields(). The kind is the member's C++ type: body/read.h has a reader for
// each, body/schema.h a schema. A member that is no optional has its default from the body.
struct FieldInfo {
  std::string_view help = "";
  // What the error says of a body without the field: "should be a string". Empty: it may be left
  // out, and null means the same.
  std::string_view needed = "";
  // Range of a number, where it is smaller than its type's; characters of a text; of a list of
  // texts the bytes of each.
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  size_t items_max = 0;                             // Of a list of texts.
  std::array<std::string_view, 2> other_names = {};  // Of the names the first that is there counts.
  bool one_line = false;                            // Of a text.
  bool levels = false;                  // Of a priority: also a number, lower is earlier.
  std::span<const std::string_view> choices = {};   // Of a text that its handler compares.
  std::string_view pattern = "";                    // Likewise: an ECMA expression.
  std::string_view refused = "";  // Of Refused: why the field is not taken.
  // Name of its schema among the shared ones, where several bodies have it; empty: none.
  std::string_view shared = "";
  // Schema of a value that code reads (const json::value*, array, object), under the settings that
  // limit it. Stands beside that code.
  boost::json::object (*schema)(const config::Config& now) = nullptr;
};

// A field that is known and not taken: the text in `refused` says why.
struct Refused {};

// Tokens that are generated at most. Nothing: what the model has left, as -1 (and -2) ask for.
struct TokensMax {
  std::optional<int64_t> tokens;
};

// A struct that is described by rows: `static constexpr void fields(auto&& field)` calls
// field(name, member, FieldInfo) for each field, and field(member) for a member whose rows are
// fields of the same object.
template <class T>
concept HasFields = requires { T::fields([](auto&&...) {}); };

}  // namespace altlas::server
