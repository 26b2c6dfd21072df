#include "client/client.h"

#include <fmt/format.h>
#include <poll.h>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/json.hpp>
#include <boost/url.hpp>
#include <charconv>
#include <optional>

namespace altlas::client {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr size_t kHeaderBytesMax = 64 * 1024;
constexpr size_t kErrorTextMax = 2000;

struct Target {
  bool tls = false;
  std::string host;
  std::string port;
  std::string prefix;     // "" or "/x".
  std::string authority;  // "127.0.0.1:8000", "[::1]:8000".
};

// Boost.URL 1.81 reads "h:x" as the host h without a port.
bool port_is_number(std::string_view url) {
  url.remove_prefix(url.find("//") + 2);
  url = url.substr(0, url.find('/'));
  const size_t bracket = url.find(']');
  if (bracket != std::string_view::npos) url.remove_prefix(bracket);
  const size_t colon = url.find(':');
  return colon == std::string_view::npos ||
         url.substr(colon + 1).find_first_not_of("0123456789") == std::string_view::npos;
}

Result<Target> parse_url(std::string_view text) {
  const auto wrong = [text](std::string_view what) {
    return invalid(fmt::format(
        "'{}' is no address of a server: {}; write http://HOST:PORT as in http://127.0.0.1:8000",
        text.substr(0, 200), what));
  };
  const auto parsed = boost::urls::parse_uri(boost::core::string_view(text.data(), text.size()));
  if (!parsed) return wrong("it can't be read as a URL");
  const auto scheme = parsed->scheme_id();
  if (scheme != boost::urls::scheme::http && scheme != boost::urls::scheme::https)
    return wrong("it is neither http nor https");
  if (!port_is_number(text)) return wrong("the port is not a number");
  Target target;
  target.tls = scheme == boost::urls::scheme::https;
  target.host = parsed->host_address();
  if (target.host.empty()) return wrong("the host is missing");
  if (parsed->has_userinfo()) return wrong("a user name has no place in it");
  if (parsed->has_query() || parsed->has_fragment()) return wrong("a query has no place in it");
  target.port = std::string(parsed->port());
  if (target.port.empty()) target.port = target.tls ? "443" : "80";
  uint32_t port = 0;
  const auto [end, error] =
      std::from_chars(target.port.data(), target.port.data() + target.port.size(), port);
  if (error != std::errc() || *end != '\0' || port == 0 || port > 65535)
    return wrong("the port is not from 1 to 65535");
  target.prefix = std::string(parsed->encoded_path());
  while (target.prefix.ends_with('/')) target.prefix.pop_back();
  const bool v6 = target.host.find(':') != std::string::npos;
  target.authority =
      v6 ? fmt::format("[{}]:{}", target.host, target.port) : target.host + ":" + target.port;
  return target;
}

bool plain_header_value(std::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
  return true;
}

ErrorCode code_of(int status) {
  switch (status) {
    case 401:
      return ErrorCode::kUnauthorized;
    case 403:
      return ErrorCode::kForbidden;
    case 404:
      return ErrorCode::kNotFound;
    case 409:
      return ErrorCode::kConflict;
    case 413:
      return ErrorCode::kTooLarge;
    case 415:
      return ErrorCode::kUnsupported;
    case 429:
      return ErrorCode::kBusy;
    case 503:
      return ErrorCode::kUnavailable;
    case 504:
      return ErrorCode::kDeadline;
    default:
      return status >= 500 ? ErrorCode::kInternal : ErrorCode::kInvalid;
  }
}

std::string refusal_text(const Answer& answer) {
  error_code ignored;
  const boost::json::value body = boost::json::parse(answer.body, ignored);
  if (const auto* object = ignored ? nullptr : body.if_object()) {
    const boost::json::value* error = object->if_contains("error");
    if (error != nullptr && error->is_object()) error = error->get_object().if_contains("message");
    if (error != nullptr && error->is_string()) return std::string(error->get_string().c_str());
  }
  return answer.body.substr(0, kErrorTextMax);
}

bool same_name(std::string_view a, std::string_view b) {
  return beast::iequals(beast::string_view(a.data(), a.size()),
                        beast::string_view(b.data(), b.size()));
}

}  // namespace

std::string_view Answer::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (same_name(key, name)) return value;
  return {};
}

Error error_of(const Answer& answer) {
  std::string text = refusal_text(answer);
  if (text.empty()) text = "the server gave no reason";
  int64_t seconds = 0;
  const std::string_view retry = answer.header("Retry-After");
  std::from_chars(retry.data(), retry.data() + retry.size(), seconds);
  return Error(code_of(answer.status), fmt::format("{} (HTTP {})", text, answer.status))
      .with_retry_after_ms(seconds * 1000);
}

struct Client::Impl {
  using Secure = beast::ssl_stream<beast::tcp_stream>;

  Target target;
  Options options;
  asio::io_context io{1};
  std::optional<ssl::context> tls;
  std::unique_ptr<beast::tcp_stream> plain;  // One of the two is set while connected.
  std::unique_ptr<Secure> secure;
  beast::flat_buffer buffer;
  bool fresh = false;  // Nothing was sent over this connection yet.

  ~Impl() { close(); }

  beast::tcp_stream& socket() { return secure ? beast::get_lowest_layer(*secure) : *plain; }
  bool connected() const { return plain || secure; }

  void close() {
    if (connected()) {
      error_code ignored;
      socket().socket().close(ignored);
    }
    plain.reset();
    secure.reset();
    buffer.clear();
  }

  // Starts one asynchronous operation and waits for its end. The stream's timer limits it.
  template <class Start>
  error_code wait(int64_t timeout_ms, Start&& start) {
    error_code out;
    socket().expires_after(std::chrono::milliseconds(timeout_ms));
    start([&out](error_code result, auto&&...) { out = result; });
    io.restart();
    io.run();
    socket().expires_never();
    return out;
  }

  Error no_connection(const std::string& what) const {
    return unavailable(
        fmt::format("can't connect to {}: {}: is the server running there? `altlas serve` starts "
                    "one; --url names another",
                    target.authority, what));
  }
  Error broken(error_code error, std::string_view doing) const {
    if (error == beast::error::timeout)
      return Error(ErrorCode::kDeadline,
                   fmt::format("{} was silent for {} s", target.authority,
                               static_cast<double>(options.timeout_ms) / 1000));
    if (error == http::error::body_limit)
      return Error(ErrorCode::kTooLarge, fmt::format("the answer of {} has more than {} bytes",
                                                     target.authority, kAnswerBytesMax));
    if (error == http::error::end_of_stream)
      return io_error(fmt::format("{} closed the connection while {}: has the server ended?",
                                  target.authority, doing));
    return io_error(fmt::format("the connection to {} broke while {}: {}", target.authority, doing,
                                error.message()));
  }

  Result<void> prepare_tls() {
    try {
      tls.emplace(ssl::context::tls_client);
      if (!options.ca_file.empty())
        tls->load_verify_file(options.ca_file);
      else
        tls->set_default_verify_paths();
      tls->set_verify_mode(options.insecure ? ssl::verify_none : ssl::verify_peer);
    } catch (const boost::system::system_error& error) {
      return invalid(fmt::format("the certificates in '{}' can't be used: {}: name a PEM file",
                                 options.ca_file, error.code().message()));
    }
    return {};
  }

  Result<void> handshake() {
    SSL_set_tlsext_host_name(secure->native_handle(), target.host.c_str());
    if (!options.insecure) secure->set_verify_callback(ssl::host_name_verification(target.host));
    const error_code error = wait(options.connect_timeout_ms, [this](auto done) {
      secure->async_handshake(ssl::stream_base::client, done);
    });
    if (!error) return {};
    const long verdict = SSL_get_verify_result(secure->native_handle());
    close();
    if (verdict != X509_V_OK)
      return unavailable(
          fmt::format("{} shows a certificate that is not trusted ({}): name its authority's file "
                      "(--ca-file), or take any certificate (--insecure)",
                      target.authority, X509_verify_cert_error_string(verdict)));
    if (error == beast::error::timeout) return no_connection("no TLS answer within the time");
    return no_connection(fmt::format(
        "TLS failed ({}): does the server speak http there, not https?", error.message()));
  }

  Result<void> open() {
    close();
    error_code error;
    tcp::resolver resolver(io);
    const auto found = resolver.resolve(target.host, target.port, error);
    if (error)
      return no_connection(
          fmt::format("no address is known for '{}' ({})", target.host, error.message()));
    if (target.tls)
      secure = std::make_unique<Secure>(io, *tls);
    else
      plain = std::make_unique<beast::tcp_stream>(io);
    error = wait(options.connect_timeout_ms, [&](auto done) {
      socket().async_connect(
          found, [done](error_code result, const tcp::endpoint&) mutable { done(result); });
    });
    if (error) {
      close();
      return no_connection(error == beast::error::timeout ? "no answer within the time"
                                                          : error.message());
    }
    error_code ignored;
    socket().socket().set_option(tcp::no_delay(true), ignored);
    fresh = true;
    if (target.tls) return handshake();
    return {};
  }

  // Whether an idle connection is of no use: it has something to read, if only its end. A new one
  // of TLS 1.3 is not asked, since it holds session tickets.
  bool stale() {
    if (!connected() || buffer.size() > 0) return true;
    if (fresh) return false;
    pollfd ask{.fd = socket().socket().native_handle(), .events = POLLIN, .revents = 0};
    return poll(&ask, 1, 0) != 0;
  }

  template <class Fn>
  error_code on_stream(int64_t timeout_ms, Fn&& fn) {
    if (secure) return wait(timeout_ms, [&](auto done) { fn(*secure, done); });
    return wait(timeout_ms, [&](auto done) { fn(*plain, done); });
  }

  Result<void> write(http::verb method, std::string_view path, std::string body,
                     std::string_view accept) {
    if (!path.starts_with('/') || !plain_header_value(path) ||
        path.find(' ') != std::string_view::npos)
      return invalid(fmt::format("'{}' is no path of a request", path.substr(0, 200)));
    if (stale()) ALTLAS_TRY_VOID(open());
    http::request<http::string_body> request{method, target.prefix + std::string(path), 11};
    request.set(http::field::host, target.authority);
    request.set(http::field::user_agent, "altlas");
    request.set(http::field::accept, beast::string_view(accept.data(), accept.size()));
    if (!options.key.empty()) request.set(http::field::authorization, "Bearer " + options.key);
    if (method == http::verb::post || method == http::verb::put)
      request.set(http::field::content_type, "application/json");
    request.body() = std::move(body);
    request.prepare_payload();
    fresh = false;
    const error_code error = on_stream(options.timeout_ms, [&](auto& stream, auto done) {
      http::async_write(stream, request, done);
    });
    if (!error) return {};
    Error out = broken(error, "a request was sent");
    close();
    return out;
  }

  static Answer head_of(const http::response<http::string_body>& message) {
    Answer answer;
    answer.status = static_cast<int>(message.result_int());
    for (const auto& field : message)
      answer.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
    return answer;
  }

  // Reads the answer. If `on_event` is set and the answer is an event stream, each event goes to
  // `on_event` as it comes.
  Result<Answer> read(const SseParser::OnEvent* on_event) {
    http::response_parser<http::string_body> parser;
    parser.header_limit(kHeaderBytesMax);
    parser.body_limit(kAnswerBytesMax);
    error_code error = on_stream(options.timeout_ms, [&](auto& stream, auto done) {
      http::async_read_header(stream, buffer, parser, done);
    });
    if (error) return give_up(error);
    Answer answer = head_of(parser.get());
    const bool events = on_event != nullptr && answer.ok() &&
                        answer.header("Content-Type").starts_with("text/event-stream");
    if (events) parser.body_limit(boost::none);
    SseParser sse;
    while (!parser.is_done()) {
      error = on_stream(options.timeout_ms, [&](auto& stream, auto done) {
        http::async_read_some(stream, buffer, parser, done);
      });
      if (error) return give_up(error);
      if (!events || parser.get().body().empty()) continue;
      const Result<bool> more = sse.push(parser.get().body(), *on_event);
      parser.get().body().clear();
      if (!more.ok() || !*more) close();
      if (!more.ok()) return more.error();
      if (!*more) return answer;
    }
    answer.body = std::move(parser.get().body());
    if (!parser.keep_alive()) close();
    return answer;
  }

  Error give_up(error_code error) {
    Error out = broken(error, "the answer was awaited");
    close();
    return out;
  }

  Result<Answer> send(http::verb method, std::string_view path, std::string body) {
    ALTLAS_TRY_VOID(write(method, path, std::move(body), "application/json"));
    return read(nullptr);
  }
};

Result<Client> Client::connect(std::string_view url, Options options) {
  auto impl = std::make_unique<Impl>();
  ALTLAS_TRY(impl->target, parse_url(url));
  if (!plain_header_value(options.key))
    return invalid("the API key has a control character, such as a line break");
  impl->options = std::move(options);
  if (impl->target.tls) ALTLAS_TRY_VOID(impl->prepare_tls());
  ALTLAS_TRY_VOID(impl->open());
  return Client(std::move(impl));
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

const std::string& Client::authority() const { return impl_->target.authority; }
Result<Answer> Client::get(std::string_view path) { return impl_->send(http::verb::get, path, ""); }
Result<Answer> Client::post(std::string_view path, std::string json) {
  return impl_->send(http::verb::post, path, std::move(json));
}
Result<Answer> Client::put(std::string_view path, std::string json) {
  return impl_->send(http::verb::put, path, std::move(json));
}
Result<Answer> Client::del(std::string_view path) {
  return impl_->send(http::verb::delete_, path, "");
}

Result<Answer> Client::stream(std::string_view path, std::string json,
                              const SseParser::OnEvent& on_event) {
  const http::verb method = json.empty() ? http::verb::get : http::verb::post;
  ALTLAS_TRY_VOID(impl_->write(method, path, std::move(json), "text/event-stream"));
  return impl_->read(&on_event);
}

}  // namespace altlas::client
