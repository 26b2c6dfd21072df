// Connections with TLS.
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include "server/connection/stream_transport.h"

namespace altlas::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;

constexpr auto kFarewell = std::chrono::seconds(1);

using TlsStream = beast::ssl_stream<beast::tcp_stream>;

class TlsTransport : public StreamTransport<TlsStream> {
 public:
  TlsTransport(TlsStream stream, std::shared_ptr<asio::ssl::context> context)
      : StreamTransport(std::move(stream)), context_(std::move(context)) {}
  asio::awaitable<ErrorCode> open() override {
    const auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kTuple);
    opened_ = !error;
    co_return error;
  }
  asio::awaitable<void> finish() override {
    if (std::exchange(opened_, false)) {
      expire_after(kFarewell);
      co_await stream_.async_shutdown(kTuple);
    }
    end_sending();
  }

 private:
  const std::shared_ptr<asio::ssl::context> context_;
  bool opened_ = false;
};

}  // namespace

std::unique_ptr<SocketTransport> tls_transport(asio::ip::tcp::socket socket,
                                               std::shared_ptr<asio::ssl::context> context) {
  TlsStream stream(beast::tcp_stream(std::move(socket)), *context);
  return std::make_unique<TlsTransport>(std::move(stream), std::move(context));
}

}  // namespace altlas::server
