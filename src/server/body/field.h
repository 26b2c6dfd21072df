// BodyField: what is said about a field of a request body beside its name and kind. From the rows
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

// One row of a body's fields(). The kind of the field is the member's C++ type: body/read.h has a
// reader for each kind, body/schema.h a schema. The body gives the default of a member that is no
// optional.
struct BodyField {
  std::string_view help = "";
  // What the error says of a body without the field: "should be a string". Empty: the field may be
  // left out, and null means the same.
  std::string_view needed = "";
  // The range of a number, where it is smaller than its type's; the characters of a text; the bytes
  // of each text of a list.
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  // How many texts a list may hold.
  size_t items_max = 0;
  // More names of the field. The first name that is there counts.
  std::array<std::string_view, 2> other_names = {};
  // A text must not have line ends.
  bool one_line = false;
  // A priority may also be a number; lower ones are earlier.
  bool levels = false;
  // Texts and an ECMA expression that only the schema tells: the handler compares the text itself,
  // with a message of its own.
  std::span<const std::string_view> choices = {};
  std::string_view pattern = "";
  // Why a field of kind Refused is not taken.
  std::string_view refused = "";
  // The name of the schema among the shared ones, where several bodies have it; empty: none.
  std::string_view shared = "";
  // The schema of a value that code reads (const json::value*, array, object), under the settings
  // that limit it. The function stands beside that code.
  boost::json::object (*schema)(const config::Config& now) = nullptr;
};

// A field that is known and not taken: the text in `refused` says why.
struct Refused {};

// Tokens that are generated at most. Nothing: what the model has left, as -1 (and -2) ask for.
struct TokensMax {
  std::optional<int64_t> tokens;
};

// A struct that is described by rows: `static constexpr void fields(auto&& field)` calls
// field(name, member, BodyField) for each field, and field(member) for a member whose rows are
// fields of the same object.
template <class T>
concept HasFields = requires { T::fields([](auto&&...) {}); };

}  // namespace altlas::server
