// Formats of JSON Schema that strings are held to.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace altlas::text::grammar::schema {

// The pattern of a format that is held ("date", "uuid", …), or nothing: then it is an annotation.
std::optional<std::string> format_pattern(std::string_view format);

}  // namespace altlas::text::grammar::schema
