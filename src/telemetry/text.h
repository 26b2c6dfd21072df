// Escaping for the exposition and trace writers.
#pragma once

#include <string>
#include <string_view>

namespace altlas::telemetry {

// `text` with every byte that is not part of valid UTF-8 replaced by '?', cut to `bytes_max`
// between characters.
std::string clean_utf8(std::string_view text, size_t bytes_max);
// Appends `text` (clean UTF-8) as the inside of a JSON string.
void append_json_escaped(std::string_view text, std::string& out);
// Appends a Prometheus sample value: shortest decimal that reads back the same, +Inf, -Inf or NaN.
void append_number(double value, std::string& out);

}  // namespace altlas::telemetry
