// Unicode's normal forms (UAX #15) of texts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace altlas::text {

// Canonical composition of valid UTF-8. O(n log n) also where one base carries all marks.
std::string to_nfc(std::string_view text);

// Unicode's normalization forms of valid UTF-8, as to_nfc.
enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };
std::string to_form(std::string_view text, NormalForm form);

// False only if to_nfc could change `text`: looks at bytes alone.
bool is_surely_nfc(std::string_view text);

}  // namespace altlas::text
