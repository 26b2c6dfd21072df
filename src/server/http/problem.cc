#include "server/http/problem.h"

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>

#include "base/utf8.h"
#include "text/json_text.h"

namespace altlas::server {
namespace json = boost::json;

int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
      return 400;
    case ErrorCode::kUnauthorized:
      return 401;
    case ErrorCode::kForbidden:
      return 403;
    case ErrorCode::kNotFound:
      return 404;
    case ErrorCode::kConflict:
      return 409;
    case ErrorCode::kTooLarge:
      return 413;
    case ErrorCode::kUnsupported:
      return 415;
    case ErrorCode::kBusy:
      return 429;
    case ErrorCode::kUnavailable:
      return 503;
    case ErrorCode::kDeadline:
      return 504;
    case ErrorCode::kCanceled:
      return 499;
    case ErrorCode::kDevice:
      return 503;
    case ErrorCode::kIo:
      return 503;
    case ErrorCode::kInternal:
      return 500;
  }
  return 500;
}

namespace {

// OpenAI's names for an error of a status. `code` stands in where the error itself has no word for
// programs.
struct OpenAiKind {
  int status;
  std::string_view type, code;
};
constexpr OpenAiKind kOpenAiKinds[] = {
    {400, "invalid_request_error", "invalid_request"},
    {401, "invalid_request_error", "invalid_api_key"},
    {403, "permission_error", "insufficient_permissions"},
    {404, "invalid_request_error", "not_found"},
    {405, "invalid_request_error", "method_not_supported"},
    {408, "invalid_request_error", "request_timeout"},
    {409, "invalid_request_error", "conflict"},
    {411, "invalid_request_error", "length_required"},
    {413, "invalid_request_error", "request_too_large"},
    {414, "invalid_request_error", "uri_too_long"},
    {415, "invalid_request_error", "unsupported_media_type"},
    {417, "invalid_request_error", "expectation_failed"},
    {429, "rate_limit_error", "rate_limit_exceeded"},
    {431, "invalid_request_error", "headers_too_large"},
    {499, "invalid_request_error", "request_cancelled"},
    {501, "invalid_request_error", "not_implemented"},
    {503, "server_error", "service_unavailable"},
    {504, "server_error", "timeout"},
    {505, "invalid_request_error", "http_version_not_supported"},
};

OpenAiKind openai_kind(int status) {
  const auto found = std::ranges::find(kOpenAiKinds, status, &OpenAiKind::status);
  if (found != std::end(kOpenAiKinds)) return *found;
  if (status >= 500) return {status, "server_error", "internal_error"};
  return {status, "invalid_request_error", "invalid_request"};
}

// Returns the OpenAI request's name for the task's field `field`.
std::string_view openai_field(std::string_view field) {
  return field == "max_length" ? "max_tokens" : field;
}
}  // namespace

std::string without_folders(std::string_view text) {
  constexpr std::string_view kBefore = " \t\n'\"`(=[,;:";
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char before = i == 0 ? ' ' : text[i - 1];
    // "http://" begins no path.
    const bool starts = text[i] == '/' && kBefore.find(before) != std::string_view::npos &&
                        !text.substr(i).starts_with("//");
    if (!starts) {
      out += text[i++];
      continue;
    }
    // A quoted path may hold spaces.
    const bool quoted = std::string_view("'\"`").find(before) != std::string_view::npos;
    size_t end = quoted ? text.find(before, i) : text.find_first_of(" \t\n'\"`()[],;:", i);
    if (end == std::string_view::npos) end = text.size();
    const std::string_view path = text.substr(i, end - i);
    const size_t last = path.find_last_of('/', path.size() > 1 ? path.size() - 2 : 0);
    // "/health" stays, since a path of one part gives no folder away.
    out += last == 0 ? path : path.substr(last + 1);
    i = end;
  }
  return out;
}

Response problem(const Error& error, bool openai_style, int status_or_0) {
  const int status = status_or_0 != 0 ? status_or_0 : http_status(error.code());
  json::object body;
  // Messages quote what was sent, and may cut it within a character.
  std::string message = repair_utf8(error.message());
  if (status >= 500) message = without_folders(message);
  if (openai_style) {
    const OpenAiKind kind = openai_kind(status);
    const std::string_view field = openai_field(error.field());
    std::string_view code = error.reason().empty() ? kind.code : error.reason();
    if (error.reason().empty() && status == 400 && !field.empty()) code = "invalid_value";
    body["error"] = {{"message", message},
                     {"type", kind.type},
                     {"param", field.empty() ? json::value(nullptr) : json::value(field)},
                     {"code", code}};
  } else {
    body["error"] = message;
  }
  Response response = json_response(text::json_text(body), status);
  if (status == 429 || error.retry_after_ms() > 0) {
    const int64_t seconds = std::max<int64_t>(1, (error.retry_after_ms() + 999) / 1000);
    response.headers.emplace_back("Retry-After", std::to_string(seconds));
  }
  if (status == 401)
    response.headers.emplace_back("WWW-Authenticate", "Bearer, Basic realm=\"altlas\"");
  return response;
}
}  // namespace altlas::server
