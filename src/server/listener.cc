#include "server/listener.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/version.hpp>
#include <boost/url.hpp>
#include <set>

#include "base/log.h"
#include "server/dispatch.h"
#include "server/problem.h"
#include "server/random_hex.h"

namespace altlas::server {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

namespace {

// co_await returns (error_code, …) instead of throwing.
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

std::chrono::microseconds seconds(double value) {
  return std::chrono::microseconds(static_cast<int64_t>(value * 1e6));
}

// What a multipart body has beside the file.
constexpr int64_t kUploadExtraBytes = 64 << 10;
// Bodies above body_bytes_max that are read at a time.
constexpr int64_t kUploadsMax = 4;

bool is_upload(std::string_view method, std::string_view target) {
  return method == "POST" && target.substr(0, target.find('?')) == "/v1/files";
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(asio::io_context& io_in, Rooms& rooms_in, const Auth& auth_in)
      : io(io_in), rooms(rooms_in), auth(auth_in), acceptor(asio::make_strand(io_in)) {}

  asio::io_context& io;
  Rooms& rooms;
  const Auth& auth;
  tcp::acceptor acceptor;
  std::mutex tls_mutex;
  std::shared_ptr<asio::ssl::context> tls;
  std::atomic<int64_t> connections{0};
  std::atomic<int64_t> uploads{0};  // Large bodies that are read now.
  std::atomic<bool> stopping{false};
  // Open sockets by id, so that stop can end idle ones. Locked: sessions live on their own strands.
  std::mutex open_mutex;
  std::map<uint64_t, std::function<void(bool)>>
      open;  // Argument: also when a request is being answered.
  uint64_t next_id = 0;

  const config::ServerConfig& config() const { return rooms.config.server; }
  Result<std::shared_ptr<asio::ssl::context>> load_tls() const;
  asio::awaitable<void> accept_loop();
  asio::awaitable<void> serve(tcp::socket socket);
};

namespace {

// One connection: requests one after another until either side has enough.
template <class Stream>
class Session : public std::enable_shared_from_this<Session<Stream>> {
 public:
  Session(Stream stream, Server::Impl& server);
  asio::awaitable<void> run();
  void stop(bool also_busy) {
    asio::post(stream_.get_executor(), [self = this->shared_from_this(), also_busy] {
      self->closing_ = true;
      if (also_busy || !self->busy_) {
        boost::system::error_code ignored;
        self->socket().shutdown(tcp::socket::shutdown_both, ignored);
      }
    });
  }

 private:
  using Parser = http::request_parser<http::string_body>;
  tcp::socket& socket() { return beast::get_lowest_layer(stream_).socket(); }
  void expire_after(std::chrono::microseconds time) {
    beast::get_lowest_layer(stream_).expires_after(time);
  }

  asio::awaitable<bool> read(Parser& parser);
  asio::awaitable<bool> check_header(Parser& parser, bool& upload);
  asio::awaitable<bool> read_body(Parser& parser);
  asio::awaitable<void> read_failed(const Parser& parser, boost::system::error_code error);
  asio::awaitable<void> refuse(int status, std::string message, bool openai_style);
  asio::awaitable<bool> answer(Parser& parser);
  asio::awaitable<bool> write(const Response& response, unsigned version, bool keep_alive,
                              bool head);
  asio::awaitable<bool> write_stream(http::response<http::empty_body> header,
                                     const StreamBody& body);
  void watch(std::shared_ptr<Disconnect> disconnect);
  Request to_request(http::request<http::string_body>&& message) const;

  Stream stream_;
  std::shared_ptr<Server::Impl> server_;
  beast::flat_buffer buffer_;
  bool busy_ = false;
  bool closing_ = false;
};

template <class Stream>
Session<Stream>::Session(Stream stream, Server::Impl& server)
    : stream_(std::move(stream)), server_(server.shared_from_this()), buffer_(1 << 20) {}

template <class Stream>
asio::awaitable<void> Session<Stream>::run() {
  if constexpr (std::is_same_v<Stream, TlsStream>) {
    expire_after(seconds(server_->config().slow_sender_timeout_s));
    const auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kTuple);
    if (error) co_return;
  }
  while (!closing_) {
    Parser parser;
    if (!co_await read(parser)) break;
    busy_ = true;
    const bool go_on = co_await answer(parser);
    busy_ = false;
    if (!go_on) break;
  }
  if constexpr (std::is_same_v<Stream, TlsStream>) {
    expire_after(std::chrono::seconds(1));
    co_await stream_.async_shutdown(kTuple);
  }
  boost::system::error_code ignored;
  socket().shutdown(tcp::socket::shutdown_both, ignored);
  socket().close(ignored);
}

// Reads one request within the limits; false when the connection is over (an answer has been sent
// where one is due).
template <class Stream>
asio::awaitable<bool> Session<Stream>::read(Parser& parser) {
  const config::ServerConfig& config = server_->config();
  parser.header_limit(static_cast<uint32_t>(config.header_bytes_max));
  // The path's own limit is checked once it is known.
  parser.body_limit(static_cast<uint64_t>(
      std::max(config.body_bytes_max, config.file_bytes_max + kUploadExtraBytes)));
  if (buffer_.size() ==
      0) {  // The first byte may take as long as a connection may idle, the rest may not.
    expire_after(seconds(config.idle_timeout_s));
    auto space = buffer_.prepare(4096);
    const auto [error, count] = co_await stream_.async_read_some(space, kTuple);
    if (error) co_return false;
    buffer_.commit(count);
  }
  expire_after(seconds(config.slow_sender_timeout_s));
  const auto [error, header_bytes] =
      co_await http::async_read_header(stream_, buffer_, parser, kTuple);
  if (error) {
    co_await read_failed(parser, error);
    co_return false;
  }
  bool upload = false;
  if (!co_await check_header(parser, upload)) co_return false;
  const bool whole = co_await read_body(parser);
  if (upload) server_->uploads.fetch_sub(1);
  co_return whole;
}

// Refuses what its header says is too much. `upload`: one of the places for large bodies is taken.
template <class Stream>
asio::awaitable<bool> Session<Stream>::check_header(Parser& parser, bool& upload) {
  const config::ServerConfig& config = server_->config();
  const auto& message = parser.get();
  const bool openai = openai_style(message.target());
  if (std::distance(message.begin(), message.end()) > config.header_count_max) {
    co_await refuse(431, fmt::format("more than {} header lines", config.header_count_max), openai);
    co_return false;
  }
  if (message.target().size() > static_cast<size_t>(config.target_bytes_max)) {
    co_await refuse(414,
                    fmt::format("the path has {} bytes, at most {} are taken",
                                message.target().size(), config.target_bytes_max),
                    openai);
    co_return false;
  }
  const bool files = is_upload(message.method_string(), message.target());
  const auto limit = static_cast<uint64_t>(files ? config.file_bytes_max + kUploadExtraBytes
                                                 : config.body_bytes_max);
  const auto length = parser.content_length();
  if (length && *length > limit) {
    co_await refuse(
        413, fmt::format("the body is larger than {} bytes: send less at a time", limit), openai);
    co_return false;
  }
  const bool large = length.value_or(limit) > static_cast<uint64_t>(config.body_bytes_max);
  if (files && large && (length || parser.chunked())) {
    // Only those who may, and not too many at once: such a body is held in memory.
    const auto identity = server_->auth.identify(message[http::field::authorization]);
    if (!identity.ok()) {
      co_await refuse(401, identity.error().message(), openai);
      co_return false;
    }
    if (server_->uploads.fetch_add(1) >= kUploadsMax) {
      server_->uploads.fetch_sub(1);
      co_await refuse(429, fmt::format("{} large files are being read: try later", kUploadsMax),
                      openai);
      co_return false;
    }
    upload = true;
  }
  parser.body_limit(limit);
  co_return true;
}

template <class Stream>
asio::awaitable<bool> Session<Stream>::read_body(Parser& parser) {
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto [error, written] =
        co_await asio::async_write(stream_, asio::buffer(kContinue), kTuple);
    if (error) co_return false;
  }
  const auto [error, bytes] = co_await http::async_read(stream_, buffer_, parser, kTuple);
  if (!error) co_return true;
  co_await read_failed(parser, error);
  co_return false;
}

// Says what was wrong with what was read, where somebody would read it.
template <class Stream>
asio::awaitable<void> Session<Stream>::read_failed(const Parser& parser,
                                                   boost::system::error_code error) {
  const config::ServerConfig& config = server_->config();
  const auto& message = parser.get();
  const bool openai = openai_style(message.target());
  if (error == http::error::body_limit) {
    const int64_t limit = is_upload(message.method_string(), message.target())
                              ? config.file_bytes_max + kUploadExtraBytes
                              : config.body_bytes_max;
    co_await refuse(
        413, fmt::format("the body is larger than {} bytes: send less at a time", limit), openai);
  } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    co_await refuse(431, fmt::format("the header is larger than {} bytes", config.header_bytes_max),
                    openai);
  } else if (error == beast::error::timeout) {
    // Closed without an answer: whoever sends this slowly would not read one either.
  } else if (error.category() == http::make_error_code(http::error::bad_method).category() &&
             error != http::error::end_of_stream && error != http::error::partial_message) {
    co_await refuse(400, "not a valid HTTP/1.1 request: " + error.message(), openai);
  }
}

// Answers and closes, without a reset that would take the answer away from a client still sending.
template <class Stream>
asio::awaitable<void> Session<Stream>::refuse(int status, std::string message, bool openai_style) {
  const Response response = problem(invalid(std::move(message)), openai_style, status);
  if (!co_await write(response, 11, false, false)) co_return;
  boost::system::error_code ignored;
  socket().shutdown(tcp::socket::shutdown_send, ignored);
  expire_after(std::chrono::seconds(2));
  std::vector<char> sink(64 << 10);
  for (int rounds = 0; rounds < 1024; ++rounds) {
    const auto [error, count] = co_await socket().async_read_some(asio::buffer(sink), kTuple);
    if (error) break;
  }
}

template <class Stream>
Request Session<Stream>::to_request(http::request<http::string_body>&& message) const {
  Request request;
  request.method = std::string(message.method_string());
  request.content_type = std::string(message[http::field::content_type]);
  request.authorization = std::string(message[http::field::authorization]);
  request.accept = std::string(message[http::field::accept]);
  request.origin = std::string(message[http::field::origin]);
  const std::string_view id = message["X-Request-Id"];
  request.request_id = id.empty() || id.size() > 128 ? random_hex() : std::string(id);
  request.received = system_clock().now();
  const auto url = boost::urls::parse_origin_form(std::string_view(message.target()));
  if (url) {
    request.path = url->path();
    for (const auto& parameter : url->params())
      request.query.emplace_back(parameter.key, parameter.value);
  }
  request.body = std::move(message.body());
  request.disconnect = std::make_shared<Disconnect>();
  return request;
}

template <class Stream>
asio::awaitable<bool> Session<Stream>::answer(Parser& parser) {
  auto message = parser.release();
  const unsigned version = message.version();
  const bool head = message.method() == http::verb::head;
  const bool keep_alive = message.keep_alive() && !server_->stopping;
  Request request = to_request(std::move(message));
  if (request.path.empty()) {
    co_await refuse(400, "the request target is not a path such as /health", false);
    co_return false;
  }
  const auto disconnect = request.disconnect;
  beast::get_lowest_layer(stream_).expires_never();
  watch(disconnect);
  const Response response = co_await dispatch(std::move(request), server_->rooms, server_->auth);
  const bool written = co_await write(response, version, keep_alive, head);
  if (!written) disconnect->fire();
  co_return written&& keep_alive && !disconnect->fired();
}

// Fires `disconnect` when the client closes while its request is being answered. Every request has
// a wait of its own that shares nothing with the next: it ends with the socket's next bytes, or
// with the socket. (One cancellation slot for all, bound again for a request while the wait of the
// one before had not ended, left that wait with memory that was given back.)
template <class Stream>
void Session<Stream>::watch(std::shared_ptr<Disconnect> disconnect) {
  socket().async_wait(tcp::socket::wait_read, [self = this->shared_from_this(),
                                               disconnect = std::move(disconnect)](
                                                  boost::system::error_code error) {
    if (error || !self->socket().is_open()) return;
    char byte;
    const ssize_t got =
        ::recv(self->socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) disconnect->fire();
  });
}

template <class Stream>
asio::awaitable<bool> Session<Stream>::write(const Response& response, unsigned version,
                                             bool keep_alive, bool head) {
  const auto fill = [&](auto& message) {
    message.version(version);
    message.result(static_cast<unsigned>(response.status));
    message.set(http::field::server, "altlas");
    if (response.status != 204) message.set(http::field::content_type, response.content_type);
    for (const auto& [name, value] : response.headers) message.insert(name, value);
    message.keep_alive(keep_alive);
  };
  expire_after(seconds(server_->config().slow_reader_timeout_s));
  if (response.stream && !head) {
    http::response<http::empty_body> header;
    fill(header);
    co_return co_await write_stream(std::move(header), response.stream);
  }
  http::response<http::span_body<const char>> message;
  fill(message);
  const std::string_view body = head ? std::string_view() : std::string_view(response.body);
  message.body() = boost::beast::span<const char>(body.data(), body.size());
  if (response.status != 204) message.content_length(response.stream ? 0 : response.body.size());
  http::response_serializer<http::span_body<const char>> serializer(message);
  serializer.split(false);
  if (head) {
    const auto [error, count] = co_await http::async_write_header(stream_, serializer, kTuple);
    co_return !error;
  }
  const auto [error, count] = co_await http::async_write(stream_, serializer, kTuple);
  co_return !error;
}

template <class Stream>
asio::awaitable<bool> Session<Stream>::write_stream(http::response<http::empty_body> header,
                                                    const StreamBody& body) {
  const bool chunked = header.version() >= 11;
  header.chunked(chunked);
  if (!chunked) header.keep_alive(false);
  http::response_serializer<http::empty_body> serializer(header);
  const auto [error, count] = co_await http::async_write_header(stream_, serializer, kTuple);
  if (error) co_return false;
  bool alive = true;
  const WriteChunk write_chunk = [this, chunked,
                                  &alive](std::string piece) -> asio::awaitable<Result<void>> {
    if (piece.empty()) co_return Result<void>();
    if (!alive) co_return Error(ErrorCode::kCanceled, "the client has gone away");
    expire_after(seconds(server_->config().slow_reader_timeout_s));
    boost::system::error_code failed;
    if (chunked) {
      const std::string framed = fmt::format("{:x}\r\n{}\r\n", piece.size(), piece);
      const auto [write_error, written] =
          co_await asio::async_write(stream_, asio::buffer(framed), kTuple);
      failed = write_error;
    } else {
      const auto [write_error, written] =
          co_await asio::async_write(stream_, asio::buffer(piece), kTuple);
      failed = write_error;
    }
    if (!failed) co_return Result<void>();
    alive = false;
    co_return Error(ErrorCode::kCanceled, "the client has gone away");
  };
  co_await body(write_chunk);
  if (!alive || !chunked) co_return false;
  static constexpr std::string_view kLast = "0\r\n\r\n";
  expire_after(seconds(server_->config().slow_reader_timeout_s));
  const auto [last_error, last_count] =
      co_await asio::async_write(stream_, asio::buffer(kLast), kTuple);
  co_return !last_error;
}

}  // namespace

Result<std::shared_ptr<asio::ssl::context>> Server::Impl::load_tls() const {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                       asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1);
  boost::system::error_code error;
  context->use_certificate_chain_file(config().tls_cert, error);
  if (error)
    return invalid(
        fmt::format("server.tls_cert: '{}' is not a PEM certificate that can be read: {}",
                    config().tls_cert, error.message()),
        "server.tls_cert");
  context->use_private_key_file(config().tls_key, asio::ssl::context::pem, error);
  if (error)
    return invalid(fmt::format("server.tls_key: '{}' is not the PEM key of the certificate: {}",
                               config().tls_key, error.message()),
                   "server.tls_key");
  return context;
}

asio::awaitable<void> Server::Impl::serve(tcp::socket socket) {
  const auto self = shared_from_this();
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  uint64_t id = 0;
  const auto run = [&](auto session) -> asio::awaitable<void> {
    {
      const std::lock_guard lock(open_mutex);
      id = next_id++;
      open[id] = [weak = std::weak_ptr(session)](bool also_busy) {
        if (const auto alive = weak.lock()) alive->stop(also_busy);
      };
    }
    co_await session->run();
    const std::lock_guard lock(open_mutex);
    open.erase(id);
  };
  std::shared_ptr<asio::ssl::context> context;
  {
    const std::lock_guard lock(tls_mutex);
    context = tls;
  }
  if (context) {
    auto session = std::make_shared<Session<TlsStream>>(
        TlsStream(PlainStream(std::move(socket)), *context), *this);
    co_await run(std::move(session));
  } else {
    auto session = std::make_shared<Session<PlainStream>>(PlainStream(std::move(socket)), *this);
    co_await run(std::move(session));
  }
  connections.fetch_sub(1);
}

asio::awaitable<void> Server::Impl::accept_loop() {
  const auto self = shared_from_this();
  while (!stopping) {
    auto [error, socket] = co_await acceptor.async_accept(asio::make_strand(io), kTuple);
    if (stopping || error == asio::error::operation_aborted) co_return;
    if (error) {  // Out of descriptors, or the peer left: go on, but not in a busy loop.
      asio::steady_timer pause(co_await asio::this_coro::executor, std::chrono::milliseconds(10));
      co_await pause.async_wait(kTuple);
      continue;
    }
    if (connections.fetch_add(1) >= config().connections_max) {
      connections.fetch_sub(1);
      static constexpr std::string_view kFull =
          "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: "
          "1\r\nConnection: close\r\n"
          "Content-Length: 54\r\n\r\n{\"error\": \"too many connections are open: try later.\"}";
      boost::system::error_code ignored;
      socket.non_blocking(true, ignored);
      socket.send(asio::buffer(kFull), 0, ignored);
      socket.shutdown(tcp::socket::shutdown_send, ignored);
      continue;
    }
    const auto executor = socket.get_executor();
    asio::co_spawn(executor, serve(std::move(socket)), [self](std::exception_ptr failed) {
      if (!failed) return;
      self->connections.fetch_sub(1);
      try {
        std::rethrow_exception(failed);
      } catch (const std::exception& what) {
        log::error("a connection failed: {}", what.what());
      }
    });
  }
}

Server::Server(asio::io_context& io, Rooms& rooms, const Auth& auth)
    : impl_(std::make_shared<Impl>(io, rooms, auth)) {}

Server::~Server() { close(); }

Result<void> Server::listen() {
  const config::ServerConfig& config = impl_->config();
  if (!config.tls_cert.empty()) {
    ALTLAS_TRY(impl_->tls, impl_->load_tls());
  }
  boost::system::error_code error;
  tcp::resolver resolver(impl_->io);
  const auto found =
      resolver.resolve(config.host, std::to_string(config.port), tcp::resolver::passive, error);
  if (error || found.empty())
    return invalid(fmt::format("server.host: '{}' is no address of this machine: {}", config.host,
                               error.message()),
                   "server.host");
  const tcp::endpoint endpoint = *found.begin();
  impl_->acceptor.open(endpoint.protocol(), error);
  if (!error) impl_->acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) impl_->acceptor.bind(endpoint, error);
  if (!error) impl_->acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return io_error(fmt::format(
        "can't listen on {}:{}: {}{}", config.host, config.port, error.message(),
        error == asio::error::address_in_use
            ? ": end what uses the port, or choose another with --port (0 takes a free one)"
            : ""));
  }
  return {};
}

uint16_t Server::port() const {
  boost::system::error_code ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

std::string Server::url() const {
  const std::string& host = impl_->config().host;
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", impl_->tls ? "https" : "http", v6 ? "[" + host + "]" : host,
                     port());
}

void Server::start() {
  asio::co_spawn(impl_->acceptor.get_executor(), impl_->accept_loop(), asio::detached);
}

Result<void> Server::reload_tls() {
  if (impl_->config().tls_cert.empty()) return {};
  ALTLAS_TRY(auto context, impl_->load_tls());
  const std::lock_guard lock(impl_->tls_mutex);
  impl_->tls = std::move(context);
  return {};
}

void Server::stop_accepting() {
  impl_->stopping = true;
  asio::post(impl_->acceptor.get_executor(), [impl = impl_] {
    boost::system::error_code ignored;
    impl->acceptor.close(ignored);
  });
  const std::lock_guard lock(impl_->open_mutex);
  for (const auto& [id, stop] : impl_->open) stop(false);
}

void Server::close() {
  stop_accepting();
  const std::lock_guard lock(impl_->open_mutex);
  for (const auto& [id, stop] : impl_->open) stop(true);
}

}  // namespace altlas::server
