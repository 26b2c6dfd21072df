#include "server/http/response_head.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>

namespace altlas::server {
namespace {

void add_line(std::string& out, std::string_view name, std::string_view value) {
  const auto control = std::ranges::find_if(
      value, [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7F; });
  out += name;
  out += ": ";
  out.append(value.begin(), control);
  out += "\r\n";
}

}  // namespace

std::string_view answer_prefix(unsigned version) {
  return version < 11 ? "HTTP/1.0 " : "HTTP/1.1 ";
}

bool has_content(int status) { return status != 204 && status != 304; }

bool chunked(const Response& response, const HeadOptions& options) {
  return response.stream && !response.stream_bytes && !options.head && options.version >= 11;
}

std::string response_head(const Response& response, const HeadOptions& options) {
  namespace http = boost::beast::http;
  const std::string_view reason =
      http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status)));
  std::string out =
      fmt::format("{}{} {}\r\n", answer_prefix(options.version), response.status, reason);
  const auto seconds = static_cast<time_t>(options.now / kSecond);
  add_line(out, "Date", fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(seconds)));
  add_line(out, "Server", "altlas");
  if (has_content(response.status)) add_line(out, "Content-Type", response.content_type);
  for (const auto& [name, value] : response.headers) add_line(out, name, value);
  if (chunked(response, options)) {
    add_line(out, "Transfer-Encoding", "chunked");
  } else if (response.stream && response.stream_bytes) {
    add_line(out, "Content-Length", std::to_string(*response.stream_bytes));
  } else if (!response.stream && has_content(response.status)) {
    add_line(out, "Content-Length", std::to_string(response.body.size()));
  }
  if (options.version >= 11 && !options.keep_alive) add_line(out, "Connection", "close");
  if (options.version < 11 && options.keep_alive) add_line(out, "Connection", "keep-alive");
  out += "\r\n";
  return out;
}

}  // namespace altlas::server
