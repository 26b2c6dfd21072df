// Goal: however the reading of choices ends, nothing of it is left: no reader of a task's events
// waits for ever, and tasks that nobody reads are cancelled. Method: subscriptions whose events are
// there at once, and callers that go on, fail, throw, or are cancelled.
#include "server/openai/choices.h"

#include <gtest/gtest.h>

#include <boost/asio.hpp>
#include <optional>
#include <stdexcept>

namespace altlas::server {
namespace {

namespace asio = boost::asio;
using asio::awaitable;

constexpr int kChoices = 8;

// Gives `events` events, the last of which is the end; with none it waits until it is cancelled.
class FakeSubscription : public control::Subscription {
 public:
  FakeSubscription(int events, int& alive) : left_(events), alive_(alive) { ++alive_; }
  ~FakeSubscription() override { --alive_; }
  awaitable<Result<control::StreamEvent>> next() override {
    control::StreamEvent event;
    if (--left_ <= 0) {
      event.end.emplace();
      event.end->status = TaskStatus::kCompleted;
    }
    co_return event;
  }

 private:
  int left_;
  int& alive_;
};

struct Outcome {
  std::optional<Result<void>> result;
  bool thrown = false;
  int alive = 0;
  int canceled = 0;
};

// Reads the choices, with the reading cancelled once nothing else is to do.
Outcome run(int events, const OnChoiceEvent& on_event) {
  Outcome out;
  asio::io_context io;
  asio::cancellation_signal signal;
  std::vector<control::OwnedTask> tasks;
  for (uint64_t i = 0; i < kChoices; ++i)
    tasks.push_back({TaskId{1, i}, std::make_shared<FakeSubscription>(events, out.alive)});
  const CancelTask cancel = [&out](TaskId) { ++out.canceled; };
  const auto read = [&]() -> awaitable<void> {
    out.result = co_await read_choices(std::move(tasks), on_event, cancel);
  };
  asio::co_spawn(io, read(),
                 asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr thrown) {
                   out.thrown = thrown != nullptr;
                 }));
  io.poll();
  signal.emit(asio::cancellation_type::all);
  io.restart();
  io.poll();
  // Readers that still wait now would wait for ever.
  EXPECT_EQ(out.alive, 0);
  return out;
}

TEST(Choices, AreReadToTheirEnds) {
  int seen = 0;
  const Outcome out = run(5, [&](size_t, const control::StreamEvent&) -> awaitable<Result<void>> {
    ++seen;
    co_return Result<void>();
  });
  ASSERT_TRUE(out.result && out.result->ok());
  EXPECT_EQ(seen, 5 * kChoices);
  EXPECT_EQ(out.canceled, 0);
}

TEST(Choices, EndWithAnErrorOfTheirReader) {
  for (const int after : {1, 7, 20}) {
    int seen = 0;
    const Outcome out = run(5, [&](size_t, const control::StreamEvent&) -> awaitable<Result<void>> {
      if (++seen == after) co_return unavailable("the socket is closed");
      co_return Result<void>();
    });
    ASSERT_TRUE(out.result && !out.result->ok());
    EXPECT_EQ(out.canceled, kChoices);
  }
}

TEST(Choices, EndWhereTheirReaderThrows) {
  for (const int after : {1, 7, 20}) {
    int seen = 0;
    const Outcome out = run(5, [&](size_t, const control::StreamEvent&) -> awaitable<Result<void>> {
      if (++seen == after) throw std::runtime_error("as a cancelled operation does");
      co_return Result<void>();
    });
    EXPECT_TRUE(out.thrown);
    EXPECT_EQ(out.canceled, kChoices);
  }
}

// The client leaves while the reader waits for its socket.
TEST(Choices, EndWhereTheRequestIsCanceled) {
  for (const int after : {1, 7, 20}) {
    int seen = 0;
    const Outcome out = run(5, [&](size_t, const control::StreamEvent&) -> awaitable<Result<void>> {
      if (++seen == after) {
        asio::steady_timer never(co_await asio::this_coro::executor,
                                 asio::steady_timer::time_point::max());
        co_await never.async_wait(asio::use_awaitable);
      }
      co_return Result<void>();
    });
    EXPECT_TRUE(out.thrown || (out.result && !out.result->ok()));
    EXPECT_EQ(out.canceled, kChoices);
  }
}

}  // namespace
}  // namespace altlas::server
