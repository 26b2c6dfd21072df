#include "server/http/cors.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"

namespace altlas::server {
namespace {

// Headers of an answer that pages may read, beside those that every page may.
constexpr std::string_view kExposed = "Retry-After, X-Altlas-Ignored, X-Altlas-Seed, X-Request-Id";
constexpr std::string_view kUsualHeaders = "Authorization, Content-Type, X-Request-Id";
constexpr size_t kHeaderNamesMax = 64;
constexpr size_t kHeaderNameBytesMax = 128;

// RFC 9110, section 5.6.2.
bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

// Returns the valid names of headers in a list.
std::string header_names(std::string_view list) {
  std::string out;
  for (size_t count = 0; !list.empty() && count < kHeaderNamesMax;) {
    const size_t end = std::min(list.find(','), list.size());
    const std::string_view name = trim(list.substr(0, end), " \t\r");
    list.remove_prefix(std::min(end + 1, list.size()));
    if (!is_token(name) || name.size() > kHeaderNameBytesMax) continue;
    if (!out.empty()) out += ", ";
    out += name;
    ++count;
  }
  return out;
}

bool any_origin(const config::ServerConfig& config) {
  return std::ranges::find(config.cors_origins, "*") != config.cors_origins.end();
}

}  // namespace

bool origin_allowed(const config::ServerConfig& config, std::string_view origin) {
  if (origin.empty()) return false;
  return any_origin(config) ||
         std::ranges::find(config.cors_origins, origin) != config.cors_origins.end();
}

void add_cors(const config::ServerConfig& config, std::string_view origin, Response& response) {
  const bool any = any_origin(config);
  // A cache must not give a page what was answered to another page, or to none.
  if (!any && !config.cors_origins.empty()) response.headers.emplace_back("Vary", "Origin");
  if (!origin_allowed(config, origin)) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", any ? "*" : std::string(origin));
  response.headers.emplace_back("Access-Control-Expose-Headers", kExposed);
}

Response preflight(const config::ServerConfig& config, const Request& request,
                   const std::string& allow) {
  Response response;
  response.status = 204;
  response.headers.emplace_back("Allow", allow + ", OPTIONS");
  if (!origin_allowed(config, request.origin)) return response;
  const std::string asked = header_names(request.cors_headers);
  response.headers.emplace_back("Access-Control-Allow-Methods", allow);
  response.headers.emplace_back("Access-Control-Allow-Headers",
                                asked.empty() ? std::string(kUsualHeaders) : asked);
  if (request.cors_private_network)
    response.headers.emplace_back("Access-Control-Allow-Private-Network", "true");
  response.headers.emplace_back("Access-Control-Max-Age", "600");
  response.headers.emplace_back("Vary", "Access-Control-Request-Headers");
  return response;
}

std::string_view find_origin(std::string_view header) {
  static constexpr std::string_view kName = "origin:";
  constexpr size_t kNone = std::string_view::npos;
  for (size_t at = header.find('\n'), end = 0; at != kNone && end != kNone; at = end) {
    end = header.find('\n', at + 1);
    if (end == kNone || end - at <= kName.size()) continue;
    const std::string_view line = header.substr(at + 1, end - at - 1);
    if (lower(line.substr(0, kName.size())) == kName) return trim(line.substr(kName.size()));
  }
  return {};
}

}  // namespace altlas::server
