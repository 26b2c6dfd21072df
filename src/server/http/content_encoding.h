// Content-Encoding of request bodies (RFC 9110, section 8.4): gzip and deflate, undone within a
// limit.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::server {

// What an Accept-Encoding of ours says.
inline constexpr std::string_view kAcceptedEncodings = "gzip, deflate, identity";

// The body that `body` is under `encoding` (the header's value; empty and "identity" change
// nothing). Pure; memory and time grow with `bytes_max` at most, whatever the body unfolds to.
// Errors: kUnsupported for another coding or several, kTooLarge above `bytes_max`, kInvalid for
// bytes that are not what the header says.
Result<std::string> decode_content(std::string_view encoding, std::string body, size_t bytes_max);

}  // namespace altlas::server
