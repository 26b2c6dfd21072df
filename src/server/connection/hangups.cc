#include "server/connection/hangups.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

namespace altlas::server {

namespace asio = boost::asio;

struct Hangups::Impl : std::enable_shared_from_this<Hangups::Impl> {
  struct Entry {
    int socket = -1;
    std::shared_ptr<const std::function<void(uint32_t)>> on_sign;
  };

  explicit Impl(asio::io_context& io) : ready(asio::make_strand(io)) {}

  void await_signs();
  void carry_out();

  asio::posix::stream_descriptor ready;  // The epoll's descriptor: readable when a sign waits.
  int epoll = -1;                        // The same descriptor; `ready` closes it.
  std::mutex mutex;
  std::map<uint64_t, Entry> entries;
  uint64_t next_id = 1;
};

namespace {

epoll_event interest(uint64_t id, uint32_t wanted) {
  epoll_event event{};
  event.events = EPOLLONESHOT;  // EPOLLERR and EPOLLHUP are always reported.
  if (wanted & Hangups::kUnread) event.events |= EPOLLIN;
  if (wanted & Hangups::kEnded) event.events |= EPOLLRDHUP;
  event.data.u64 = id;
  return event;
}

}  // namespace

Hangups::Hangups(asio::io_context& io) : impl_(std::make_shared<Impl>(io)) {}
Hangups::~Hangups() { close(); }

Result<void> Hangups::open() {
  impl_->epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (impl_->epoll < 0)
    return io_error(fmt::format("no epoll can be had: {}", std::strerror(errno)));
  boost::system::error_code error;
  impl_->ready.assign(impl_->epoll, error);
  if (error) return io_error("the epoll can't be watched: " + error.message());
  return {};
}

void Hangups::start() {
  asio::post(impl_->ready.get_executor(), [impl = impl_] { impl->await_signs(); });
}

void Hangups::close() {
  asio::post(impl_->ready.get_executor(), [impl = impl_] {
    const std::lock_guard lock(impl->mutex);
    boost::system::error_code ignored;
    impl->ready.close(ignored);
    impl->epoll = -1;
    impl->entries.clear();
  });
}

void Hangups::Impl::await_signs() {
  if (!ready.is_open()) return;
  ready.async_wait(asio::posix::stream_descriptor::wait_read,
                   [self = shared_from_this()](boost::system::error_code error) {
                     if (error || !self->ready.is_open()) return;
                     self->carry_out();
                     self->await_signs();
                   });
}

void Hangups::Impl::carry_out() {
  epoll_event events[64];
  const int count = ::epoll_wait(epoll, events, std::size(events), 0);
  for (int i = 0; i < count; ++i) {
    std::shared_ptr<const std::function<void(uint32_t)>> on_sign;
    {
      const uint64_t id = events[i].data.u64;  // A copy, since the kernel's struct is packed.
      const std::lock_guard lock(mutex);
      const auto found = entries.find(id);
      if (found == entries.end()) continue;
      on_sign = found->second.on_sign;
    }
    uint32_t signs = 0;
    if (events[i].events & EPOLLIN) signs |= kUnread;
    if (events[i].events & EPOLLRDHUP) signs |= kEnded;
    if (events[i].events & (EPOLLERR | EPOLLHUP)) signs |= kGone;
    (*on_sign)(signs);
  }
}

uint64_t Hangups::watch(int socket, uint32_t wanted, std::function<void(uint32_t)> on_sign) {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->epoll < 0) return 0;
  const uint64_t id = impl_->next_id++;
  impl_->entries[id] = {
      socket, std::make_shared<const std::function<void(uint32_t)>>(std::move(on_sign))};
  epoll_event event = interest(id, wanted);
  if (::epoll_ctl(impl_->epoll, EPOLL_CTL_ADD, socket, &event) == 0) return id;
  impl_->entries.erase(id);
  return 0;
}

void Hangups::again(uint64_t id, uint32_t wanted) {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->entries.find(id);
  if (found == impl_->entries.end()) return;
  epoll_event event = interest(id, wanted);
  // The call fails only if the socket is closed; nobody watches it then.
  static_cast<void>(::epoll_ctl(impl_->epoll, EPOLL_CTL_MOD, found->second.socket, &event));
}

void Hangups::forget(uint64_t id) {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->entries.find(id);
  if (found == impl_->entries.end()) return;
  static_cast<void>(::epoll_ctl(impl_->epoll, EPOLL_CTL_DEL, found->second.socket, nullptr));
  impl_->entries.erase(found);
}

}  // namespace altlas::server
