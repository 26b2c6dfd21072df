#include "server/handlers.h"

#include <algorithm>
#include <boost/json.hpp>

#include "server/json_reader.h"

namespace altlas::server {

namespace {

// Estimates the memory of the JSON made from a body: its texts take as much as the body, and each
// value has an overhead.
int64_t parsed_bytes(std::string_view body) {
  constexpr int64_t kValueBytes = 32;
  const auto values = std::ranges::count_if(
      body, [](char c) { return c == ',' || c == ':' || c == '[' || c == '{'; });
  return static_cast<int64_t>(body.size()) + values * kValueBytes;
}

}  // namespace

Result<boost::json::object> read_body(const Request& request, const Services& services) {
  if (request.memory) ALTLAS_TRY_VOID(request.memory->add(parsed_bytes(request.body)));
  return parse_object(request.body, static_cast<size_t>(services.config.server.json_depth_max));
}

}  // namespace altlas::server
