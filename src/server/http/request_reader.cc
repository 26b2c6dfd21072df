#include "server/http/request_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http.hpp>

#include "base/strings.h"
#include "server/http/host.h"
#include "server/http/target.h"

namespace altlas::server {

namespace http = boost::beast::http;
using boost::beast::iequals;

namespace {

// The bytes of a multipart body beside the file.
constexpr int64_t kUploadExtraBytes = 64 << 10;

using Fields = http::request<http::string_body>;

// Returns all lines of a field as one list (RFC 9110, section 5.3).
std::string joined(const Fields& message, std::string_view name) {
  std::string out;
  const auto [first, last] = message.equal_range(name);
  for (auto it = first; it != last; ++it) {
    if (!out.empty()) out += ", ";
    out += std::string_view(it->value());
  }
  return out;
}

// Whether a list of tokens has this one, in upper or lower case.
bool names(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    const std::string_view one = trim(list.substr(0, end), " \t");
    list.remove_prefix(std::min(end + 1, list.size()));
    if (iequals(one, token)) return true;
  }
  return false;
}

// Whether the connection stays open (RFC 9112, section 9.3). "close" rules, on whichever line it
// is.
bool stays_open(const Fields& message) {
  const std::string connection = joined(message, "Connection");
  if (names(connection, "close")) return false;
  return message.version() >= 11 || names(connection, "keep-alive");
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Returns what is wrong with how the message marks the end of its body, or "".
std::string framing_fault(const Fields& message) {
  const size_t encodings = message.count(http::field::transfer_encoding);
  const size_t lengths = message.count(http::field::content_length);
  if (encodings > 0) {
    if (message.version() < 11) return "Transfer-Encoding needs HTTP/1.1";
    if (encodings > 1) return "more than one Transfer-Encoding";
    if (!iequals(message[http::field::transfer_encoding], "chunked"))
      return fmt::format("Transfer-Encoding is '{}', only 'chunked' is taken",
                         std::string_view(message[http::field::transfer_encoding]).substr(0, 64));
    if (lengths > 0) return "both Transfer-Encoding and Content-Length";
  }
  if (lengths > 1) return "more than one Content-Length";
  if (lengths == 1 && !is_number(message[http::field::content_length]))
    return "Content-Length is not a number";
  return "";
}

// Returns what is wrong with how the message names the host (RFC 9112, section 3.2), or "".
std::string host_fault(const Fields& message, std::string_view target) {
  const size_t hosts = message.count(http::field::host);
  if (hosts > 1) return "more than one Host: send one";
  if (hosts == 0 && message.version() >= 11) return "no Host: HTTP/1.1 needs one";
  const auto fault = [](std::string_view host) {
    return parse_authority(host) ? std::string()
                                 : fmt::format(
                                       "'{}' is not a host: send a name or an address, "
                                       "with a port or without",
                                       host.substr(0, 128));
  };
  const std::string_view named = authority_of(target);
  std::string found = named.empty() ? "" : fault(named);
  if (found.empty() && hosts > 0) found = fault(message[http::field::host]);
  return found;
}

// Returns the target in a request line that is not valid, or not yet.
std::string target_in(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return "";
  line.remove_prefix(space + 1);
  return std::string(line.substr(0, line.find(' ')));
}

}  // namespace

struct RequestReader::Parser : http::request_parser<http::string_body> {};

uint64_t body_limit(const config::ServerConfig& config, std::string_view method,
                    std::string_view path) {
  const bool upload = method == "POST" && path == "/v1/files";
  return static_cast<uint64_t>(upload ? config.file_bytes_max + kUploadExtraBytes
                                      : config.body_bytes_max);
}

RequestReader::RequestReader(const config::ServerConfig& config)
    : config_(config), parser_(std::make_unique<Parser>()) {
  parser_->header_limit(static_cast<uint32_t>(config.header_bytes_max));
  parser_->body_limit(boost::none);  // The path's limit is set once the path is known.
}
RequestReader::~RequestReader() = default;

void RequestReader::refuse(int status, std::string message) {
  state_ = State::kRefused;
  refusal_ = {status, std::move(message)};
}

size_t RequestReader::put(std::string_view bytes) {
  if (state_ == State::kBody) return put_body(bytes);
  return state_ == State::kHead ? put_head(bytes) : 0;
}

size_t RequestReader::put_head(std::string_view bytes) {
  size_t used = 0;
  // Empty lines before a request line do not count (RFC 9112, section 2.2).
  if (!begun_) {
    while (bytes.substr(used).starts_with("\r\n")) used += 2;
    if (used == bytes.size() || bytes.substr(used) == "\r") return used;
    begun_ = true;
  }
  if (used == bytes.size()) return used;  // The parser can't take a null pointer for no bytes.
  boost::system::error_code error;
  parser_->eager(false);
  used += parser_->put(boost::asio::buffer(bytes.substr(used)), error);
  if (error == http::error::need_more) return used;
  if (!error) {
    if (parser_->is_header_done()) read_head();
    return used;
  }
  const std::string_view rest = bytes.substr(used), line = rest.substr(0, rest.find("\r\n"));
  head_.origin = std::string(parser_->get()[http::field::origin]);
  target_ = std::string(parser_->get().target());
  const auto header_max = static_cast<size_t>(config_.header_bytes_max);
  const bool in_line = target_.empty() && (line.size() == rest.size() || line.size() >= header_max);
  if (target_.empty()) target_ = target_in(line);
  if (error == http::error::header_limit && in_line)
    refuse(414, fmt::format("the request line is longer than {} bytes", config_.header_bytes_max));
  else if (error == http::error::header_limit)
    refuse(431, fmt::format("the header is larger than {} bytes", config_.header_bytes_max));
  else
    refuse(400, "not a valid HTTP/1.1 request: " + error.message());
  return used;
}

void RequestReader::read_head() {
  const auto& message = parser_->get();
  const auto field = [&](http::field name) { return std::string(message[name]); };
  version_ = message.version();
  keep_alive_ = stays_open(message);
  target_ = std::string(message.target());
  expects_continue_ = version_ >= 11 && iequals(message[http::field::expect], "100-continue");
  head_.method = std::string(message.method_string());
  head_.content_type = field(http::field::content_type);
  head_.authorization = field(http::field::authorization);
  head_.accept = field(http::field::accept);
  head_.accept_encoding = joined(message, "Accept-Encoding");
  head_.if_none_match = joined(message, "If-None-Match");
  head_.origin = field(http::field::origin);
  head_.content_encoding = joined(message, "Content-Encoding");
  head_.last_event_id = joined(message, "Last-Event-ID");
  head_.cors_headers = joined(message, "Access-Control-Request-Headers");
  head_.cors_private_network = iequals(message["Access-Control-Request-Private-Network"], "true");
  head_.request_id = std::string(message["X-Request-Id"]);
  if (std::distance(message.begin(), message.end()) > config_.header_count_max)
    return refuse(431, fmt::format("more than {} header lines", config_.header_count_max));
  if (target_.size() > static_cast<size_t>(config_.target_bytes_max))
    return refuse(414, fmt::format("the path has {} bytes, at most {} are taken", target_.size(),
                                   config_.target_bytes_max));
  if (const std::string fault = framing_fault(message); !fault.empty())
    return refuse(400, "it can't be said where the body ends: " + fault);
  auto target = parse_target(target_);
  if (!target)
    return refuse(400,
                  "the request target is not a path such as /health, or has a '%' without two "
                  "hexadecimal digits");
  if (const std::string fault = host_fault(message, target_); !fault.empty())
    return refuse(400, fault);
  // The target's authority overrides Host (RFC 9112, section 3.2.2).
  head_.host = authority_of(target_);
  if (head_.host.empty()) head_.host = field(http::field::host);
  head_.path = std::move(target->path);
  head_.query = std::move(target->query);
  body_bytes_max_ = body_limit(config_, head_.method, head_.path);
  const auto length = parser_->content_length();
  if (length && *length > body_bytes_max_)
    return refuse(
        413, fmt::format("the body is larger than {} bytes: send less at a time", body_bytes_max_));
  parser_->body_limit(body_bytes_max_);
  parser_->eager(true);
  state_ = parser_->is_done() ? State::kDone : State::kBody;
}

size_t RequestReader::put_body(std::string_view bytes) {
  if (bytes.empty()) return 0;
  boost::system::error_code error;
  const size_t used = parser_->put(boost::asio::buffer(bytes), error);
  if (error == http::error::body_limit) {
    refuse(413,
           fmt::format("the body is larger than {} bytes: send less at a time", body_bytes_max_));
  } else if (error && error != http::error::need_more) {
    refuse(400, "not a valid HTTP/1.1 request: " + error.message());
  } else if (parser_->is_done()) {
    state_ = State::kDone;
  } else if (bytes.size() - used > static_cast<size_t>(config_.header_bytes_max)) {
    refuse(431, fmt::format("the line of a chunk, or what follows the last one, is larger than {} "
                            "bytes",
                            config_.header_bytes_max));
  }
  return used;
}

int64_t RequestReader::body_bytes() const {
  return static_cast<int64_t>(parser_->get().body().size());
}

Request RequestReader::take() {
  Request request = std::move(head_);
  request.body = std::move(parser_->get().body());
  return request;
}

}  // namespace altlas::server
