// Small operations on texts that many rooms need.
#pragma once

#include <string>
#include <string_view>

namespace altlas {

// `text` without the characters of `drop` at its begin, at its end, or at both.
constexpr std::string_view trim_begin(std::string_view text, std::string_view drop = " \t\r\n") {
  const size_t first = text.find_first_not_of(drop);
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

constexpr std::string_view trim_end(std::string_view text, std::string_view drop = " \t\r\n") {
  return text.substr(0, text.find_last_not_of(drop) + 1);
}

constexpr std::string_view trim(std::string_view text, std::string_view drop = " \t\r\n") {
  return trim_end(trim_begin(text, drop), drop);
}

// ASCII letters in lower case, every other byte as it is.
inline std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace altlas
