#include "worker/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "base/drop.h"

namespace altlas::worker {
namespace asio = boost::asio;

void Connection::read() {
  socket_.async_read_some(
      asio::buffer(buffer_),
      [self = shared_from_this()](const boost::system::error_code& error, size_t size) {
        if (self->closed_) return;
        if (error) return self->ended(error);
        self->take(size);
        if (!self->closed_) self->read_more(size);
      });
}

// Reads what else is there without waiting, up to a bound: other work of the thread would come
// between two reads otherwise, and a large message take as many turns as it has pieces.
void Connection::read_more(size_t size) {
  boost::system::error_code error;
  for (size_t pieces = 1; size == buffer_.size() && pieces < kPiecesMax; ++pieces) {
    size = socket_.read_some(asio::buffer(buffer_), error);
    if (error == asio::error::would_block) break;
    if (error) return ended(error);
    take(size);
    if (closed_) return;
  }
  read();
}

void Connection::take(size_t size) {
  const auto handler = on_bytes;  // The handler may replace itself.
  if (!draining_ && handler) handler({buffer_.data(), size});
}

void Connection::write(std::string bytes) {
  if (closed_ || draining_) return;
  if (queued_.empty())
    queued_ = std::move(bytes);
  else
    queued_ += bytes;
  if (writing_.empty()) write_next();
}

void Connection::write_next() {
  writing_ = std::exchange(queued_, {});
  asio::async_write(socket_, asio::buffer(writing_),
                    [self = shared_from_this()](const boost::system::error_code& error, size_t) {
                      if (self->closed_) return;
                      if (error) return self->ended(error);
                      drop(self->writing_);  // Large messages leave no memory behind.
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
