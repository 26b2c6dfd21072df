// UTF-8: decoding, checking, and repair of invalid bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace altlas {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD.

struct Utf8Char {
  enum Kind : uint8_t {
    kValid,
    kInvalid,     // `length` bytes that can't begin a character whatever follows: one U+FFFD.
    kIncomplete,  // The text ends inside what may become a character.
  };
  Kind kind;
  uint8_t length;  // >= 1.
  char32_t code_point;
};

// The character at `text`'s begin, which must not be empty. Invalid bytes are grouped by "maximal
// subparts" (Unicode 3.9, U+FFFD substitution), as Python and WHATWG do.
Utf8Char decode_utf8(std::string_view text);

// 0 to 15, or -1 where `c` is no hexadecimal digit of either case.
int hex_digit(char c);

void append_utf8(std::string& out, char32_t code_point);

// Whether `c` goes on a character that an earlier byte began.
constexpr bool is_continuation_byte(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

bool is_valid_utf8(std::string_view text);

// `text` with each invalid part replaced by U+FFFD, as bytes.decode("utf-8", "replace") gives.
std::string repair_utf8(std::string_view text);

// Number of code points of valid UTF-8.
size_t count_code_points(std::string_view text);

}  // namespace altlas
