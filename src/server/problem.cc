#include "server/problem.h"

#include <boost/json.hpp>

#include "text/utf8.h"
#include "server/json_text.h"

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
std::string_view openai_type(int status) {
  switch (status) {
    case 400:
    case 405:
    case 413:
    case 414:
    case 415:
    case 431:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 409:
      return "conflict_error";
    case 429:
      return "rate_limit_error";
    default:
      return "server_error";
  }
}

// What these requests call the task's field that `field` names.
std::string_view openai_field(std::string_view field) {
  return field == "max_length" ? "max_tokens" : field;
}
}  // namespace

std::string without_folders(std::string_view text) {
  constexpr std::string_view kBefore = " \t\n'\"`(=[,;:";
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char before = i == 0 ? ' ' : text[i - 1];
    // "http://" is no path.
    const bool starts = text[i] == '/' && kBefore.find(before) != std::string_view::npos &&
                        !text.substr(i).starts_with("//");
    if (!starts) {
      out += text[i++];
      continue;
    }
    // In quotes a path may hold spaces.
    const bool quoted = std::string_view("'\"`").find(before) != std::string_view::npos;
    size_t end = quoted ? text.find(before, i) : text.find_first_of(" \t\n'\"`()[],;:", i);
    if (end == std::string_view::npos) end = text.size();
    const std::string_view path = text.substr(i, end - i);
    const size_t last = path.find_last_of('/', path.size() > 1 ? path.size() - 2 : 0);
    // "/health" stays: one part alone gives no folder away.
    out += last == 0 ? path : path.substr(last + 1);
    i = end;
  }
  return out;
}

Response problem(const Error& error, bool openai_style, int status_or_0) {
  const int status = status_or_0 != 0 ? status_or_0 : http_status(error.code());
  json::object body;
  // Messages quote what was sent, perhaps cut within a character.
  std::string message = text::repair_utf8(error.message());
  if (status >= 500) message = without_folders(message);
  if (openai_style) {
    json::object detail{{"message", message}, {"type", openai_type(status)}};
    const std::string_view field = openai_field(error.field());
    detail["param"] = field.empty() ? json::value(nullptr) : json::value(field);
    detail["code"] = error.code() == ErrorCode::kNotFound && error.field() == "model"
                         ? json::value("model_not_found")
                         : json::value(status);
    body["error"] = std::move(detail);
  } else {
    body["error"] = message;
  }
  Response response = json_response(json_text(body), status);
  if (status == 429 || error.retry_after_ms() > 0) {
    const int64_t seconds = std::max<int64_t>(1, (error.retry_after_ms() + 999) / 1000);
    response.headers.emplace_back("Retry-After", std::to_string(seconds));
  }
  if (status == 401)
    response.headers.emplace_back("WWW-Authenticate", "Bearer, Basic realm=\"altlas\"");
  return response;
}
}  // namespace altlas::server
