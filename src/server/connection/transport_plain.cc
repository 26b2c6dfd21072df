// Connections without TLS.
#include "server/connection/stream_transport.h"

namespace altlas::server {
namespace {

class PlainTransport : public StreamTransport<boost::beast::tcp_stream> {
 public:
  using StreamTransport::StreamTransport;
  boost::asio::awaitable<ErrorCode> open() override { co_return ErrorCode(); }
  boost::asio::awaitable<void> finish() override {
    end_sending();
    co_return;
  }
};

}  // namespace

std::unique_ptr<SocketTransport> plain_transport(boost::asio::ip::tcp::socket socket) {
  return std::make_unique<PlainTransport>(boost::beast::tcp_stream(std::move(socket)));
}

}  // namespace altlas::server
