// SubscriptionImpl: one reader's inbox on the service's strand, and how what a request holds gives
// itself back.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/drop.h"
#include "control/held_bytes.h"
#include "control/service.h"

namespace altlas::control {

using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;
using Timer = boost::asio::steady_timer;

// co_spawn wants results that are made from nothing, which a Result is not.
template <class T>
boost::asio::awaitable<std::optional<T>> boxed(boost::asio::awaitable<T> inner) {
  co_return std::optional<T>(co_await std::move(inner));
}
// Runs `inner` on the executor; the answer comes back on the caller's.
template <class Executor, class T>
boost::asio::awaitable<T> on_executor(Executor executor, boost::asio::awaitable<T> inner) {
  std::optional<T> out =
      co_await boost::asio::co_spawn(executor, boxed(std::move(inner)), boost::asio::use_awaitable);
  co_return std::move(*out);
}
template <class T>
boost::asio::awaitable<T> on_strand(Strand strand, boost::asio::awaitable<T> inner) {
  return on_executor(std::move(strand), std::move(inner));
}

// One who waits for a task's end.
struct Waiter {
  Waiter(const Strand& strand, int64_t timeout_ms)
      : wake(strand, std::chrono::milliseconds(timeout_ms)) {}
  Timer wake;
  // Kept here, since the core may have forgotten the task when the waiter wakes.
  std::optional<TaskView> end;
};

// The answer to a submission.
struct Submitted {
  std::vector<Placed> placed;
  std::vector<OwnedTask> owned;  // The tasks of submit_owned().
};

// Memory that an event takes while nobody has read it.
inline uint64_t held_bytes(const StreamEvent& event) {
  uint64_t bytes = sizeof event + event.delta.text.size();
  bytes += event.delta.ids.size() * sizeof event.delta.ids.front();
  bytes += held_bytes(event.delta.logprobs) + held_bytes(event.delta.prompt_logprobs);
  return bytes;
}

// What one reader has not read yet. Touched on the strand only.
struct Inbox {
  explicit Inbox(const Strand& strand) : wake(strand, Timer::time_point::max()) {}
  // Gives the reader up when more than `bytes_max` wait behind the event that it is to read next.
  // That one may be larger (a prompt's log-probabilities, an echo): others follow at once, before
  // the fastest reader can have taken it. Nothing follows an end.
  void put(StreamEvent event, uint64_t bytes_max) {
    const uint64_t front = events.empty() ? 0 : held_bytes(events.front());
    if (bytes - front > bytes_max && !event.end) {
      overflowed = true;
      drop(events);
      bytes = 0;
    }
    if (overflowed) return;
    bytes += held_bytes(event);
    events.push_back(std::move(event));
  }
  StreamEvent take() {
    StreamEvent event = std::move(events.front());
    events.pop_front();
    bytes -= held_bytes(event);
    return event;
  }

  std::deque<StreamEvent> events;
  uint64_t bytes = 0;  // Their bytes.
  bool overflowed = false;
  Timer wake;
};

// How what a request holds (places, tasks) gives itself back to the service, which may be gone by
// then: requests that a stop cut off are destroyed with the io context, after the service.
class Door {
 public:
  explicit Door(std::function<void(Event)> post) : post_(std::move(post)) {}
  void post(Event event) {
    const std::lock_guard lock(mutex_);
    if (post_) post_(std::move(event));
  }
  void close() {
    const std::lock_guard lock(mutex_);
    post_ = nullptr;
  }

 private:
  std::mutex mutex_;
  std::function<void(Event)> post_;
};

class SubscriptionImpl : public Subscription {
 public:
  SubscriptionImpl(Strand strand, std::shared_ptr<Inbox> inbox)
      : strand_(std::move(strand)), inbox_(std::move(inbox)) {}
  // For an owned task: cancels it when dropped before its end was taken.
  SubscriptionImpl(Strand strand, std::shared_ptr<Inbox> inbox, TaskId owned,
                   std::shared_ptr<Door> door)
      : strand_(std::move(strand)),
        inbox_(std::move(inbox)),
        owned_(owned),
        door_(std::move(door)) {}
  ~SubscriptionImpl() override {
    if (door_ != nullptr && !ended_) door_->post(CancelRequested{owned_});
  }
  boost::asio::awaitable<Result<StreamEvent>> next() override {
    Result<StreamEvent> event = co_await on_strand(strand_, read(inbox_));
    if (event.ok() && event->end) ended_ = true;
    co_return event;
  }

 private:
  static boost::asio::awaitable<Result<StreamEvent>> read(std::shared_ptr<Inbox> inbox) {
    while (inbox->events.empty() && !inbox->overflowed) {
      inbox->wake.expires_at(Timer::time_point::max());
      co_await inbox->wake.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
    if (inbox->overflowed)
      co_return Error(
          ErrorCode::kBusy,
          "the stream was not read fast enough and was given up; ask for the task instead");
    co_return inbox->take();
  }
  const Strand strand_;
  const std::shared_ptr<Inbox> inbox_;  // The service holds it weakly.
  const TaskId owned_;
  const std::shared_ptr<Door> door_;  // Null: the task is not owned.
  bool ended_ = false;
};

}  // namespace altlas::control
