// Request targets (RFC 9112, section 3.2): the path and the query that a request names.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace altlas::server {

struct Target {
  std::string path;                                        // Decoded; "*" of OPTIONS alone.
  std::vector<std::pair<std::string, std::string>> query;  // Decoded, '+' is a space.
};

// Reads "/path?query", "http://host/path?query" and "*". Any octet that a request line can hold
// stands for itself, as browsers and curl send {}[]\|^ in queries. Nothing for another form, a
// fragment, or a '%' without two hexadecimal digits. Pure.
std::optional<Target> parse_target(std::string_view target);

// The path and query of a target as they were sent: those of "http://host/a?b" are "/a?b".
std::string_view origin_form(std::string_view target);

// "host:8000" of "http://host:8000/path"; empty in the other forms.
std::string_view authority_of(std::string_view target);

}  // namespace altlas::server
