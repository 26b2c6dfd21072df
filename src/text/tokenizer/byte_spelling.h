// GPT-2's spelling of bytes: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and
// on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace altlas::text {

char32_t byte_letter(uint8_t byte);

// The bytes that a spelling stands for; one with any other character stands for itself, as in
// transformers.
void append_bytes_of_letters(std::string_view spelling, std::string& out);

}  // namespace altlas::text
