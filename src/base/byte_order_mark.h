// The mark that editors put before a text, and texts that are not UTF-8 by it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas {

// Error::reason() of a text that is not UTF-8.
inline constexpr std::string_view kUnsupportedEncoding = "unsupported_encoding";

// The rest of `text` behind a UTF-8 byte order mark, or all of it; `what` names it in the error.
// Errors: kInvalid for UTF-16 and UTF-32, told by their marks, or by the zero bytes that letters
// have there.
Result<std::string_view> skip_byte_order_mark(std::string_view text, std::string_view what);

}  // namespace altlas
