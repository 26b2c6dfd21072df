#include "server/connection/session.h"

#include <fmt/format.h>

#include <boost/asio.hpp>

#include "base/log.h"
#include "base/random.h"
#include "server/connection/dispatch.h"
#include "server/http/cors.h"
#include "server/http/host.h"
#include "server/http/problem.h"
#include "server/metrics.h"
#include "server/routes.h"

namespace altlas::server {

namespace asio = boost::asio;
using asio::awaitable;
using asio::ip::tcp;

namespace {

constexpr size_t kReadBytes = 64 << 10;
// The client must take this much within the time allowed.
constexpr size_t kWriteBytes = 256 << 10;
constexpr size_t kRequestIdBytesMax = 128;  // A longer id is replaced.
constexpr auto kDrainTime = std::chrono::seconds(2);
constexpr uint64_t kDrainBytes = 64 << 20;

std::chrono::microseconds seconds(double value) {
  return std::chrono::microseconds(static_cast<int64_t>(value * 1e6));
}

std::string request_id(const std::string& sent) {
  return sent.empty() || sent.size() > kRequestIdBytesMax ? random_hex() : sent;
}

std::string chunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

// Returns text such as "127.0.0.1", or "" if the socket is gone.
std::string address_text(const boost::system::error_code& error, const tcp::endpoint& end) {
  return error ? std::string() : end.address().to_string();
}
std::string local_address(const tcp::socket& socket) {
  boost::system::error_code error;
  const auto end = socket.local_endpoint(error);
  return address_text(error, end);
}
std::string peer_address(const tcp::socket& socket) {
  boost::system::error_code error;
  const auto end = socket.remote_endpoint(error);
  return address_text(error, end);
}

}  // namespace

// A streamed body while its handler produces it. Handlers may keep their WriteChunk for longer; it
// then only says that nobody reads.
struct HttpSession::Stream {
  bool chunked = false;
  bool events = false;  // Whether it has server-sent events, which may have comments between them.
  bool open = true;
};

HttpSession::HttpSession(std::unique_ptr<SocketTransport> transport,
                         std::shared_ptr<SessionShare> share)
    : transport_(std::move(transport)),
      share_(std::move(share)),
      local_address_(local_address(transport_->socket())),
      peer_address_(peer_address(transport_->socket())) {}

void HttpSession::stop(bool also_busy) {
  asio::post(transport_->socket().get_executor(), [self = shared_from_this(), also_busy] {
    self->closing_ = true;
    if (!also_busy && self->busy_) return;
    boost::system::error_code ignored;
    self->transport_->socket().shutdown(tcp::socket::shutdown_both, ignored);
  });
}

awaitable<void> HttpSession::run() {
  transport_->expire_after(seconds(config().slow_sender_timeout_s));
  if (co_await transport_->open()) co_return;
  while (!closing_) {
    RequestReader reader(config());
    if (const auto& memory = share_->services.request_memory)
      memory_ = std::make_shared<MemoryLease>(memory);
    if (!co_await read(reader)) break;
    busy_ = true;
    const bool go_on = co_await answer(reader);
    busy_ = false;
    if (!go_on) break;
  }
  co_await transport_->finish();
  boost::system::error_code ignored;
  transport_->socket().close(ignored);
}

// Reads more of what the client sends. Returns false if nothing more comes.
awaitable<bool> HttpSession::fill() {
  const auto space = buffer_.prepare(kReadBytes);
  const auto [error, count] =
      co_await transport_->read_some(static_cast<char*>(space.data()), space.size());
  if (error) co_return false;
  buffer_.commit(count);
  co_return true;
}

// Reads one request within the limits. Returns false if the connection is over (an answer has been
// sent where one is due).
awaitable<bool> HttpSession::read(RequestReader& reader) {
  // The first byte may take as long as a connection may be idle; the rest has less time.
  transport_->expire_after(seconds(config().idle_timeout_s));
  bool begun = false;
  while (reader.state() == RequestReader::State::kHead) {
    const auto bytes = buffer_.data();
    buffer_.consume(reader.put({static_cast<const char*>(bytes.data()), bytes.size()}));
    if (reader.begun() && !std::exchange(begun, true))
      transport_->expire_after(seconds(config().slow_sender_timeout_s));
    if (reader.state() == RequestReader::State::kHead && !co_await fill()) co_return false;
  }
  if (reader.state() == RequestReader::State::kRefused)
    co_return co_await refuse(reader, invalid(reader.refusal().message), reader.refusal().status);
  if (const auto checked = check_head(reader); !checked.ok())
    co_return co_await refuse(reader, checked.error());
  if (reader.state() == RequestReader::State::kDone) co_return true;
  co_return co_await read_body(reader);
}

// Checks what the head alone decides, before memory is spent on a body. If the request has no body,
// a wrong key is answered like any other fault, and the connection stays.
Result<void> HttpSession::check_head(const RequestReader& reader) {
  const Request& head = reader.head();
  const auto now = share_->services.now();
  ALTLAS_TRY_VOID(check_page(now->server, head, share_->auth.has_keys(), local_address_));
  admitted_ = admit(head, share_->services, share_->auth);
  if (memory_ && admitted_->ok()) memory_->set_owner((*admitted_)->identity.name);
  if (reader.state() == RequestReader::State::kBody && !admitted_->ok()) return admitted_->error();
  return {};
}

awaitable<bool> HttpSession::read_body(RequestReader& reader) {
  if (reader.expects_continue() && buffer_.size() == 0 &&
      co_await transport_->write("HTTP/1.1 100 Continue\r\n\r\n"))
    co_return false;
  while (reader.state() == RequestReader::State::kBody) {
    const auto bytes = buffer_.data();
    const size_t used = reader.put({static_cast<const char*>(bytes.data()), bytes.size()});
    buffer_.consume(used);
    if (memory_)
      if (const auto held = memory_->hold(reader.body_bytes()); !held.ok())
        co_return co_await refuse(reader, held.error());
    if (reader.state() == RequestReader::State::kBody && !co_await fill()) co_return false;
  }
  if (reader.state() == RequestReader::State::kDone) co_return true;
  co_return co_await refuse(reader, invalid(reader.refusal().message), reader.refusal().status);
}

// Answers and closes without a reset, which would take the answer away from a client that still
// sends.
awaitable<bool> HttpSession::refuse(const RequestReader& reader, Error error, int status) {
  memory_ = nullptr;
  Response response = problem(error, openai_style(reader.target()), status);
  response.headers.emplace_back("X-Request-Id", request_id(reader.head().request_id));
  std::string origin = reader.head().origin;
  // The Origin header may be part of what was too long to be read.
  if (origin.empty()) {
    const auto bytes = buffer_.data();
    origin = find_origin({static_cast<const char*>(bytes.data()), bytes.size()});
  }
  add_cors(share_->services.now()->server, origin, response);
  count_request(share_->services.metrics, "none", response.status, 0);
  if (response.status == 401 && !reader.head().authorization.empty()) co_await slow_down();
  HeadOptions options;
  options.keep_alive = false;
  options.version = reader.version();
  options.head = reader.head().method == "HEAD";
  co_await send_answer(response, options);
  co_await transport_->finish();
  co_await transport_->drain(kDrainTime, kDrainBytes);
  co_return false;
}

awaitable<bool> HttpSession::answer(RequestReader& reader) {
  HeadOptions options;
  options.version = version_ = reader.version();
  options.head = reader.head().method == "HEAD";
  options.keep_alive = reader.keep_alive() && !share_->stopping;
  prefix_sent_ = 0;
  Request request = reader.take();
  request.request_id = request_id(request.request_id);
  request.received = system_clock().now();
  const auto watch = std::make_shared<ClientWatch>(
      transport_->socket().get_executor(), share_->hangups, transport_->socket().native_handle(),
      [this] { return probe(); });
  const auto disconnect = request.disconnect = watch->disconnect();
  transport_->expire_after({});
  // It is held until the answer is sent.
  const auto memory = request.memory = std::exchange(memory_, nullptr);
  const bool key_sent = !request.authorization.empty();
  Result<Admitted> admitted = *std::exchange(admitted_, std::nullopt);
  const Response response =
      co_await dispatch(std::move(request), std::move(admitted), share_->services);
  if (response.status == 401 && key_sent) co_await slow_down();
  options.keep_alive = options.keep_alive && !closing_;
  const bool go_on = co_await send_answer(response, options);
  watch->end();
  if (!go_on) disconnect->fire();
  co_return go_on;
}

// Logs wrong keys. The more there were from an address, the later they are answered.
awaitable<void> HttpSession::slow_down() {
  const auto verdict = share_->wrong_keys.note(peer_address_, system_clock().now());
  if (verdict.log) log::warn("wrong keys from {}: {} so far", peer_address_, verdict.count);
  if (verdict.delay == 0) co_return;
  asio::steady_timer timer(transport_->socket().get_executor(),
                           std::chrono::microseconds(verdict.delay));
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

// Sends a byte of the answer early: if nobody is there, the client's system answers with a reset.
bool HttpSession::probe() {
  if (sending_) return true;  // Sending tests the connection, too.
  if (stream_) {
    static constexpr std::string_view kComment = ":\n\n";
    if (!stream_->open || !stream_->events) return true;
    return transport_->write_now(stream_->chunked ? chunk(kComment) : std::string(kComment));
  }
  const std::string_view prefix = answer_prefix(version_);
  if (prefix_sent_ == prefix.size()) return true;
  return transport_->write_now(prefix.substr(prefix_sent_++, 1));
}

// Removes from `head` what probe() has sent of it.
void HttpSession::take_prefix(std::string& head) { head.erase(0, std::exchange(prefix_sent_, 0)); }

awaitable<bool> HttpSession::send(std::string_view bytes) {
  sending_ = true;
  bool sent = true;
  while (sent && !bytes.empty()) {
    transport_->expire_after(seconds(config().slow_reader_timeout_s));
    const std::string_view piece = bytes.substr(0, kWriteBytes);
    sent = !co_await transport_->write(piece);
    bytes.remove_prefix(piece.size());
  }
  sending_ = false;
  co_return sent;
}

awaitable<bool> HttpSession::send_answer(const Response& response, HeadOptions options) {
  options.now = system_clock().now();
  if (response.stream && !options.head) co_return co_await send_stream(response, options);
  std::string bytes = response_head(response, options);
  take_prefix(bytes);
  const bool body = !options.head && has_content(response.status);
  const bool apart = body && response.body.size() > kWriteBytes;
  if (body && !apart) bytes += response.body;  // Head and body share a packet if they fit.
  bool sent = co_await send(bytes);
  if (sent && apart) sent = co_await send(response.body);
  co_return sent&& options.keep_alive;
}

awaitable<bool> HttpSession::send_stream(const Response& response, HeadOptions options) {
  const auto stream = std::make_shared<Stream>();
  stream->chunked = chunked(response, options);
  stream->events = response.content_type == "text/event-stream";
  if (!stream->chunked && !response.stream_bytes) options.keep_alive = false;
  std::string head = response_head(response, options);
  take_prefix(head);
  if (!co_await send(head)) co_return false;
  stream_ = stream;
  bool whole = true;
  try {
    const WriteChunk write = [self = shared_from_this(),
                              stream](std::string piece) -> awaitable<Result<void>> {
      return self->send_piece(stream, std::move(piece));
    };
    co_await response.stream(write);
  // The client sees that the body has no end.
  } catch (const std::exception& error) {
    log::error("an answer ended early: {}", error.what());
    whole = false;
  }
  whole = whole && stream->open;
  stream->open = false;
  stream_ = nullptr;
  if (whole && stream->chunked) whole = co_await send("0\r\n\r\n");
  if (!options.keep_alive) whole = false;
  co_return whole;
}

awaitable<Result<void>> HttpSession::send_piece(std::shared_ptr<Stream> stream, std::string piece) {
  if (piece.empty()) co_return Result<void>();
  if (stream->open) stream->open = co_await send(stream->chunked ? chunk(piece) : piece);
  if (stream->open) co_return Result<void>();
  co_return Error(ErrorCode::kCanceled, "the client has gone away");
}

}  // namespace altlas::server
