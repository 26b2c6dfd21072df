// Small operations on texts that many rooms need.
#pragma once

#include <string>
#include <string_view>

namespace altlas {

// `text` without the characters of `drop` at its ends.
constexpr std::string_view trim(std::string_view text, std::string_view drop = " \t\r\n") {
  const size_t first = text.find_first_not_of(drop);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(drop) - first + 1);
}

// ASCII letters in lower case, every other byte as it is.
inline std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace altlas
