// Classes of characters, as the Rust of transformers' tokenizers has them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace altlas::text {

bool is_white_space(char32_t c);  // Unicode White_Space.
// Category C but unassigned ones, tab, line feed and carriage return.
bool is_control_char(char32_t c);
bool is_mark(char32_t c);  // Category M.
bool is_nonspacing_mark(char32_t c);
bool is_cjk(char32_t c);        // What BERT puts spaces around.
bool is_word_char(char32_t c);  // Letters, marks, digits, connectors.
void append_lowercase(std::string& out, char32_t c);

// Bytes of the grapheme cluster (UAX #29) at the begin of valid UTF-8, which must not be empty.
size_t grapheme_bytes(std::string_view text);

}  // namespace altlas::text
