// StoryReader: reads from the event log what memory has forgotten of why a device was chosen.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <utility>

#include "control/event_log.h"
#include "control/subscription.h"
#include "control/views.h"

namespace altlas::control {

// Any thread. One thread of its own reads, one task after another; kReadingMax at most are read or
// wait for it.
class StoryReader {
 public:
  static constexpr int kReadingMax = 4;

  // A place among those that read, to be given back by read().  Errors: kBusy.
  Result<void> reserve() {
    if (++reading_ <= kReadingMax) return {};
    --reading_;
    return Error(ErrorCode::kBusy, "too many choices are being read from the event log")
        .with_retry_after_ms(1000);
  }
  // After reserve(). Errors: kNotFound, kIo.
  boost::asio::awaitable<Result<TaskStory>> read(EventLogFiles files, TaskId id) {
    boost::asio::awaitable<Result<TaskStory>> reading = do_read(std::move(files), id);
    co_return co_await on_executor(thread_.get_executor(), std::move(reading));
  }
  // What is being read ends early.
  void stop() {
    stops_ = true;
    thread_.join();
  }

 private:
  boost::asio::awaitable<Result<TaskStory>> do_read(EventLogFiles files, TaskId id) {
    Result<TaskStory> story = explain_from_event_log(std::move(files), id, stops_);
    --reading_;
    co_return story;
  }

  std::atomic<int> reading_ = 0;
  std::atomic<bool> stops_ = false;
  boost::asio::thread_pool thread_{1};
};

}  // namespace altlas::control
