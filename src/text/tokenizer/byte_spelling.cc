#include "text/tokenizer/byte_spelling.h"

#include <array>
#include <cstddef>
#include <utility>

namespace altlas::text {
namespace {

struct ByteSpelling {
  std::array<char32_t, 256> to_point;
  std::array<int16_t, 324> to_byte;  // -1: the letter spells no byte.
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

void append_bytes_of_letters(std::string_view spelling, std::string& out) {
  const ByteSpelling& known = byte_spelling();
  const size_t begin = out.size();
  std::array<char, 256> bytes;
  size_t count = 0;
  for (size_t i = 0; i < spelling.size(); ++i) {
    // Every letter has one byte or two.
    size_t point = static_cast<uint8_t>(spelling[i]);
    if (point >= 0x80) {
      const uint8_t next = i + 1 < spelling.size() ? static_cast<uint8_t>(spelling[i + 1]) : 0;
      const bool two = (point & 0xE0) == 0xC0 && (next & 0xC0) == 0x80;
      point = two ? (point & 0x1F) << 6 | (next & 0x3F) : 0;
      ++i;
      if (point < 0x80) point = known.to_byte.size();
    }
    if (point >= known.to_byte.size() || known.to_byte[point] < 0) {
      out.resize(begin);
      out += spelling;
      return;
    }
    if (count == bytes.size()) out.append(bytes.data(), std::exchange(count, 0));
    bytes[count++] = static_cast<char>(known.to_byte[point]);
  }
  out.append(bytes.data(), count);
}

}  // namespace altlas::text
