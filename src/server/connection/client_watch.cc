#include "server/connection/client_watch.h"

#include <sys/ioctl.h>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <utility>

namespace altlas::server {

namespace asio = boost::asio;

ClientWatch::ClientWatch(asio::any_io_executor executor, std::shared_ptr<Hangups> hangups,
                         int socket, Probe probe)
    : executor_(std::move(executor)),
      hangups_(std::move(hangups)),
      socket_(socket),
      probe_(std::move(probe)),
      timer_(executor_) {}

std::shared_ptr<Disconnect> ClientWatch::disconnect() {
  if (!disconnect_)
    disconnect_ = std::make_shared<Disconnect>([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->begin();
    });
  return disconnect_;
}

void ClientWatch::begin() {
  if (over_) return;
  const auto on_sign = [weak = weak_from_this(), executor = executor_](uint32_t signs) {
    asio::post(executor, [weak, signs] {
      if (const auto self = weak.lock()) self->on_sign(signs);
    });
  };
  id_ = hangups_->watch(socket_, Hangups::kUnread | Hangups::kEnded, on_sign);
}

void ClientWatch::end() {
  if (std::exchange(over_, true)) return;
  if (id_ != 0) hangups_->forget(id_);
  timer_.cancel();
  probe_ = nullptr;
}

void ClientWatch::on_sign(uint32_t signs) {
  if (over_) return;
  if (signs & Hangups::kGone) return disconnect_->fire();
  const bool ended_now = !ended_ && (signs & Hangups::kEnded) != 0;
  ended_ |= ended_now;
  hangups_->again(id_, ended_ ? 0 : Hangups::kEnded);
  if (ended_now) probe();
  if (!probing_ && !disconnect_->fired()) probe_later();
}

bool ClientWatch::may_have_left() const {
  int unread = 0;
  return ended_ || (::ioctl(socket_, FIONREAD, &unread) == 0 && unread >= kHidingBytes);
}

void ClientWatch::probe() {
  if (!probe_()) disconnect_->fire();
}

void ClientWatch::probe_later() {
  probing_ = true;
  timer_.expires_after(pause_);
  pause_ = std::min<std::chrono::milliseconds>(2 * pause_, kPauseMax);
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code error) {
    const auto self = weak.lock();
    if (error || !self || self->over_ || self->disconnect_->fired()) return;
    if (self->may_have_left()) self->probe();
    if (!self->disconnect_->fired()) self->probe_later();
  });
}

}  // namespace altlas::server
