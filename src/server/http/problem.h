// Errors as HTTP answers: one table from codes to status.
#pragma once

#include "base/result.h"
#include "server/http/http.h"

namespace altlas::server {

int http_status(ErrorCode code);
// {"error": "…"}, or OpenAI's error object where `openai_style`. Retry-After set from the error, 1
// s for 429 without one. `status`: 0 takes the code's.
// What the server's own faults (5xx) say of its files is told without their folders.
Response problem(const Error& error, bool openai_style, int status = 0);

// `text` with absolute paths cut to their last part: what a client needs of them is in it, where
// the server lives is not.
std::string without_folders(std::string_view text);

}  // namespace altlas::server
