// CORS (the Fetch standard, section 3.2): which pages may call, and what they may read and send.
#pragma once

#include <string>
#include <string_view>

#include "config/config.h"
#include "server/http/http.h"

namespace altlas::server {

// Whether pages of `origin` may call.
bool origin_allowed(const config::ServerConfig& config, std::string_view origin);

// Lets pages of `origin` read the answer, errors too, if they may call. Empty: no page asks.
void add_cors(const config::ServerConfig& config, std::string_view origin, Response& response);

// The answer to what a browser asks before a request: `allow` are the path's methods. The headers
// that it names are allowed, as far as they are names of headers and not too many.
Response preflight(const config::ServerConfig& config, const Request& request,
                   const std::string& allow);

// The Origin in a header that could not be read as a whole; empty: none.
std::string_view find_origin(std::string_view header);

}  // namespace altlas::server
