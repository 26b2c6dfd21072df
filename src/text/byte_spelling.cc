#include "text/byte_spelling.h"

#include <array>

#include "text/utf8.h"

namespace altlas::text {
namespace {

struct ByteSpelling {
  std::array<char32_t, 256> to_point;
  std::array<int16_t, 324> to_byte;  // -1: no byte is spelled so.
};

ByteSpelling make_byte_spelling() {
  ByteSpelling spelling;
  spelling.to_byte.fill(-1);
  char32_t next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const char32_t point = printable ? static_cast<char32_t>(b) : next++;
    spelling.to_point[static_cast<size_t>(b)] = point;
    spelling.to_byte[point] = static_cast<int16_t>(b);
  }
  return spelling;
}

const ByteSpelling& byte_spelling() {
  static const ByteSpelling spelling = make_byte_spelling();
  return spelling;
}

}  // namespace

char32_t byte_letter(uint8_t byte) { return byte_spelling().to_point[byte]; }

std::string bytes_of_letters(std::string_view spelling) {
  std::string bytes;
  const ByteSpelling& known = byte_spelling();
  for (size_t i = 0; i < spelling.size();) {
    const Utf8Char c = decode_utf8(spelling.substr(i));
    if (c.kind != Utf8Char::kValid || c.code_point >= known.to_byte.size() ||
        known.to_byte[c.code_point] < 0)
      return std::string(spelling);
    bytes += static_cast<char>(known.to_byte[c.code_point]);
    i += c.length;
  }
  return bytes;
}

}  // namespace altlas::text
