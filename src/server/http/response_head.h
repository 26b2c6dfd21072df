// The head of an answer as bytes: status line and header (RFC 9112, section 4).
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "server/http/http.h"

namespace altlas::server {

struct HeadOptions {
  unsigned version = 11;  // For the request: 10 or 11.
  bool keep_alive = true;
  bool head = false;  // The request was HEAD: a length is said, no body follows.
  TimeUs now = 0;
};

// How many bytes every answer to a request of `version` begins with, whatever it is.
std::string_view answer_prefix(unsigned version);

// Whether an answer of this status has a body, or a type and a length of one.
bool has_content(int status);

// Whether the body goes out in chunks; otherwise its length is said, or the connection's end ends
// it (HTTP/1.0, which `keep_alive` must then say).
bool chunked(const Response& response, const HeadOptions& options);

// Ends with the empty line. Pure. Values with a line break or another control character are cut
// before it.
std::string response_head(const Response& response, const HeadOptions& options);

}  // namespace altlas::server
