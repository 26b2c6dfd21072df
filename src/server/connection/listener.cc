#include "server/connection/listener.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <boost/asio.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>

#include "base/byte_order_mark.h"
#include "base/log.h"
#include "base/private_file.h"
#include "server/connection/hangups.h"
#include "server/connection/session.h"
#include "server/connection/transport.h"

namespace altlas::server {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

// With it co_await returns (error_code, …) instead of throwing.
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

// Descriptors that the journal, batches, restarted workers and reads of /proc may need at once.
constexpr int64_t kDescriptorsReserved = 16;
// A connection needs a socket, and the file whose content is being sent.
constexpr int64_t kDescriptorsEach = 2;

struct Descriptors {
  int64_t limit = INT64_MAX;  // The soft limit of RLIMIT_NOFILE.
  int64_t used = 0;
};

Descriptors descriptors() {
  Descriptors out;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    out.limit = static_cast<int64_t>(limit.rlim_cur);
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error))
    ++out.used;
  return out;
}

// Sends answers at once, and notices within a minute if a peer vanished without a word.
void set_options(tcp::socket& socket) {
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  const auto set = [&](int option, int value) {
    static_cast<void>(
        ::setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof value));
  };
  set(TCP_KEEPIDLE, 30);
  set(TCP_KEEPINTVL, 10);
  set(TCP_KEEPCNT, 3);
}

// OpenSSL finds no certificate after a byte order mark.
Result<std::string> read_pem(const std::string& path, const std::string& field) {
  const auto wrong = [&](std::string_view why) {
    return invalid(fmt::format("{}: '{}' can't be read: {}", field, path, why), field);
  };
  std::ifstream file(path, std::ios::binary);
  if (!file) return wrong(std::strerror(errno));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto plain = skip_byte_order_mark(text, fmt::format("{}: '{}'", field, path));
  if (!plain.ok()) return Error(plain.error()).with_field(field);
  return std::string(*plain);
}

// Returns whose connection it is: the address, or for IPv6 the network, since one machine has a
// whole /64.
std::string network_of(const boost::system::error_code& error, const tcp::endpoint& end) {
  if (error) return "";
  if (end.address().is_v4()) return end.address().to_string();
  const auto v6 = end.address().to_v6();
  if (v6.is_v4_mapped()) return asio::ip::make_address_v4(asio::ip::v4_mapped, v6).to_string();
  return asio::ip::network_v6(v6, 64).canonical().to_string();
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(asio::io_context& io_in, Services& services, const Auth& auth)
      : io(io_in),
        share(std::make_shared<SessionShare>(services, auth, std::make_shared<Hangups>(io_in))),
        acceptor(asio::make_strand(io_in)) {}

  asio::io_context& io;
  const std::shared_ptr<SessionShare> share;
  tcp::acceptor acceptor;
  std::mutex tls_mutex;
  std::shared_ptr<asio::ssl::context> tls;
  int64_t connections = 0;  // It is guarded by open_mutex, like the next one.
  int64_t connections_possible = INT64_MAX;  // It follows from the limit of descriptors.
  // Open connections by id, so that stop() can end idle ones. They are locked, since sessions live
  // on strands of their own.
  std::mutex open_mutex;
  std::map<uint64_t, std::weak_ptr<HttpSession>> open;
  std::map<std::string, int64_t> of_address;  // The number of connections per address.
  uint64_t next_id = 0;

  const config::ServerConfig& config() const { return share->services.config.server; }
  Result<std::shared_ptr<asio::ssl::context>> load_tls() const;
  asio::awaitable<void> accept_loop();
  asio::awaitable<void> serve(tcp::socket socket);
  bool enter(const std::string& address);
  void leave(const std::string& address);
  void turn_away(tcp::socket socket) const;
  void limit_connections();
  void stop_sessions(bool also_busy);
};

namespace {

// A connection's place in the server's list. It lasts as long as the connection, however that ends.
class OpenPlace {
 public:
  OpenPlace(std::shared_ptr<Server::Impl> server, const std::shared_ptr<HttpSession>& session)
      : server_(std::move(server)) {
    const std::lock_guard lock(server_->open_mutex);
    id_ = server_->next_id++;
    server_->open[id_] = session;
  }
  OpenPlace(const OpenPlace&) = delete;
  OpenPlace& operator=(const OpenPlace&) = delete;
  ~OpenPlace() {
    const std::lock_guard lock(server_->open_mutex);
    server_->open.erase(id_);
  }

 private:
  const std::shared_ptr<Server::Impl> server_;
  uint64_t id_ = 0;
};

}  // namespace

Result<std::shared_ptr<asio::ssl::context>> Server::Impl::load_tls() const {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                       asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1);
  // With these ciphers a certificate that is stolen later does not open connections of TLS 1.2.
  if (SSL_CTX_set_cipher_list(context->native_handle(), "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
    return Error(ErrorCode::kInternal, "this OpenSSL has no ECDHE");
  boost::system::error_code error;
  ALTLAS_TRY(const std::string certificates, read_pem(config().tls_cert, "server.tls_cert"));
  context->use_certificate_chain(asio::buffer(certificates), error);
  if (error)
    return invalid(
        fmt::format("server.tls_cert: '{}' is not a PEM certificate that can be read: {}",
                    config().tls_cert, error.message()),
        "server.tls_cert");
  if (const auto closed = check_secret_file(config().tls_key, "server.tls_key"); !closed.ok())
    return Error(closed.error()).with_field("server.tls_key");
  ALTLAS_TRY(const std::string key, read_pem(config().tls_key, "server.tls_key"));
  context->use_private_key(asio::buffer(key), asio::ssl::context::pem, error);
  if (error)
    return invalid(fmt::format("server.tls_key: '{}' is not the PEM key of the certificate: {}",
                               config().tls_key, error.message()),
                   "server.tls_key");
  return context;
}

asio::awaitable<void> Server::Impl::serve(tcp::socket socket) {
  set_options(socket);
  std::shared_ptr<asio::ssl::context> context;
  {
    const std::lock_guard lock(tls_mutex);
    context = tls;
  }
  auto transport = context ? tls_transport(std::move(socket), std::move(context))
                           : plain_transport(std::move(socket));
  const auto session = std::make_shared<HttpSession>(std::move(transport), share);
  const OpenPlace place(shared_from_this(), session);
  co_await session->run();
}

// By now the rest of the server has its descriptors; connections share what is left.
void Server::Impl::limit_connections() {
  const Descriptors now = descriptors();
  const int64_t possible =
      std::max<int64_t>((now.limit - now.used - kDescriptorsReserved) / kDescriptorsEach, 1);
  {
    const std::lock_guard lock(open_mutex);
    connections_possible = possible;
  }
  if (possible >= config().connections_max) return;
  log::warn(
      "at most {} connections are served, not {} (server.connections_max): this process may open "
      "{} files (ulimit -n), has {} open and keeps {} for journal, batches and workers",
      possible, config().connections_max, now.limit, now.used, kDescriptorsReserved);
}

// Takes a place among all connections and those of the address. Returns false if there is none.
bool Server::Impl::enter(const std::string& address) {
  const std::lock_guard lock(open_mutex);
  if (connections >= std::min(config().connections_max, connections_possible)) return false;
  int64_t& same = of_address[address];
  if (same >= config().connections_per_address_max) return false;
  ++same;
  ++connections;
  return true;
}

void Server::Impl::leave(const std::string& address) {
  const std::lock_guard lock(open_mutex);
  --connections;
  if (--of_address[address] == 0) of_address.erase(address);
}

// Answers a connection that exceeds the limit.
void Server::Impl::turn_away(tcp::socket socket) const {
  static constexpr std::string_view kBody =
      R"({"error": "too many connections are open: try later"})";
  const auto now = share->services.now();
  const std::vector<std::string>& origins = now->server.cors_origins;
  const bool any_page = std::ranges::find(origins, "*") != origins.end();
  const std::string answer = fmt::format(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n{}"
      "Connection: close\r\nContent-Length: {}\r\n\r\n{}",
      any_page ? "Access-Control-Allow-Origin: *\r\n" : "", kBody.size(), kBody);
  boost::system::error_code ignored;
  socket.non_blocking(true, ignored);
  socket.send(asio::buffer(answer), 0, ignored);
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

asio::awaitable<void> Server::Impl::accept_loop() {
  const auto self = shared_from_this();
  while (!share->stopping) {
    auto [error, socket] = co_await acceptor.async_accept(asio::make_strand(io), kTuple);
    if (share->stopping || error == asio::error::operation_aborted) co_return;
    // If the process is out of descriptors, or the peer left, the loop goes on, but not busily.
    if (error) {
      asio::steady_timer pause(co_await asio::this_coro::executor, std::chrono::milliseconds(10));
      co_await pause.async_wait(kTuple);
      continue;
    }
    boost::system::error_code gone;
    const auto peer = socket.remote_endpoint(gone);
    const std::string address = network_of(gone, peer);
    if (!enter(address)) {
      turn_away(std::move(socket));
      continue;
    }
    const auto executor = socket.get_executor();
    asio::co_spawn(executor, serve(std::move(socket)), [self, address](std::exception_ptr failed) {
      self->leave(address);
      if (!failed) return;
      try {
        std::rethrow_exception(failed);
      } catch (const std::exception& what) {
        log::error("a connection failed: {}", what.what());
      }
    });
  }
}

void Server::Impl::stop_sessions(bool also_busy) {
  const std::lock_guard lock(open_mutex);
  for (const auto& [id, weak] : open)
    if (const auto session = weak.lock()) session->stop(also_busy);
}

Server::Server(asio::io_context& io, Services& services, const Auth& auth)
    : impl_(std::make_shared<Impl>(io, services, auth)) {}

Server::~Server() { close(); }

Result<void> Server::listen() {
  ALTLAS_TRY_VOID(impl_->share->hangups->open());
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
  impl_->share->hangups->start();
  impl_->limit_connections();
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
  impl_->share->stopping = true;
  asio::post(impl_->acceptor.get_executor(), [impl = impl_] {
    boost::system::error_code ignored;
    impl->acceptor.close(ignored);
  });
  impl_->stop_sessions(false);
}

void Server::close() {
  stop_accepting();
  impl_->stop_sessions(true);
  impl_->share->hangups->close();
}

}  // namespace altlas::server
