// Errors as HTTP answers: one table from codes to status.
#pragma once

#include "base/result.h"
#include "server/http.h"

namespace altlas::server {

int http_status(ErrorCode code);
// {"error": "…"}, or OpenAI's error object where `openai_style`. Retry-After set from the error, 1
// s for 429 without one. `status`: 0 takes the code's.
Response problem(const Error& error, bool openai_style, int status = 0);

}  // namespace altlas::server
