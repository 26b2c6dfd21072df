#include "worker/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace altlas::worker {
namespace asio = boost::asio;

void Connection::read() {
  socket_.async_read_some(
      asio::buffer(buffer_),
      [self = shared_from_this()](const boost::system::error_code& error, size_t size) {
        if (self->closed_) return;
        if (error) return self->ended(error);
        const auto handler = self->on_bytes;  // The handler may replace itself.
        if (!self->draining_ && handler) handler({self->buffer_.data(), size});
        if (!self->closed_) self->read();
      });
}

void Connection::write(std::string bytes) {
  if (closed_ || draining_) return;
  queued_ += bytes;
  if (writing_.empty()) write_next();
}

void Connection::write_next() {
  writing_ = std::exchange(queued_, {});
  asio::async_write(socket_, asio::buffer(writing_),
                    [self = shared_from_this()](const boost::system::error_code& error, size_t) {
                      if (self->closed_) return;
                      if (error) return self->ended(error);
                      self->writing_.clear();
                      if (!self->queued_.empty()) return self->write_next();
                      if (self->draining_) self->close();
                    });
}

void Connection::ended(const boost::system::error_code& error) {
  const auto closed = std::exchange(on_closed, nullptr);
  const bool say = !draining_;
  close();
  if (closed && say)
    closed(error == asio::error::eof ? "the other end closed the connection" : error.message());
}

void Connection::close(bool drain) {
  if (closed_) return;
  if (drain && !writing_.empty()) {
    draining_ = true;
    return;
  }
  closed_ = true;
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace altlas::worker
