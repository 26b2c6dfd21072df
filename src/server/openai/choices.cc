#include "server/openai/choices.h"

#include <boost/asio.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <exception>

#include "server/tasks/follow.h"

namespace altlas::server {

namespace asio = boost::asio;
using asio::awaitable;

namespace {

struct ChoiceEvent {
  size_t choice = 0;
  Result<control::StreamEvent> event = control::StreamEvent();
};
using EventChannel =
    asio::experimental::channel<void(boost::system::error_code, std::shared_ptr<ChoiceEvent>)>;

// Moves one choice's events into the shared channel until the choice is over or the reader has
// left.
awaitable<void> forward(size_t index, std::shared_ptr<control::Subscription> subscription,
                        std::shared_ptr<EventChannel> channel) {
  const OnEvent send = [&](Result<control::StreamEvent> event) -> awaitable<Result<void>> {
    auto item = std::make_shared<ChoiceEvent>();
    item->choice = index;
    item->event = std::move(event);
    const auto [error] = co_await channel->async_send(boost::system::error_code(), item,
                                                      asio::as_tuple(asio::use_awaitable));
    if (error) co_return Error(ErrorCode::kCanceled, "nobody reads the choices any more");
    co_return Result<void>();
  };
  static_cast<void>(co_await follow(std::move(subscription), send));
}

Result<void> outcome_of(const Result<control::StreamEvent>& event) {
  if (!event.ok()) return event.error();
  return event->end ? failure_of(*event->end) : Result<void>();
}

// Hands on what comes until all choices are over, one of them failed, or the reading is cancelled.
awaitable<Result<void>> drain(EventChannel& channel, size_t open, const OnChoiceEvent& on_event) {
  while (open > 0) {
    const auto [error, item] = co_await channel.async_receive(asio::as_tuple(asio::use_awaitable));
    if (error) co_return Error(ErrorCode::kCanceled, "the client has gone");
    ALTLAS_CO_TRY_VOID(outcome_of(item->event));
    ALTLAS_CO_TRY_VOID(co_await on_event(item->choice, *item->event));
    open -= item->event->end.has_value();
  }
  co_return Result<void>();
}

}  // namespace

awaitable<Result<void>> read_choices(std::vector<control::OwnedTask> tasks, OnChoiceEvent on_event,
                                     CancelTask cancel) {
  const auto executor = co_await asio::this_coro::executor;
  const auto channel = std::make_shared<EventChannel>(executor, 0);
  std::vector<TaskId> ids;
  for (size_t i = 0; i < tasks.size(); ++i) {
    ids.push_back(tasks[i].id);
    asio::co_spawn(executor, forward(i, std::move(tasks[i].answer), channel), asio::detached);
  }
  Result<void> outcome;
  std::exception_ptr thrown;  // What cancels a coroutine comes out of co_await as an exception.
  try {
    outcome = co_await drain(*channel, ids.size(), on_event);
  } catch (...) {
    thrown = std::current_exception();
  }
  // forward() of a choice may wait for a reader of the channel, which it keeps alive: it would for
  // ever, since close() alone leaves what waits. One that waits for events ends with its task.
  channel->close();
  channel->cancel();
  if (!outcome.ok() || thrown)
    for (const TaskId id : ids) cancel(id);
  if (thrown) std::rethrow_exception(thrown);
  co_return outcome;
}

awaitable<Result<void>> read_choices(std::vector<control::OwnedTask> tasks, OnChoiceEvent on_event,
                                     Services& services) {
  const CancelTask cancel = [&services](TaskId id) { services.service.cancel_soon(id); };
  co_return co_await read_choices(std::move(tasks), std::move(on_event), cancel);
}

awaitable<Result<std::vector<Choice>>> collect_choices(std::vector<control::OwnedTask> tasks,
                                                       bool with_ids, Services& services) {
  std::vector<Choice> choices(tasks.size());
  const OnChoiceEvent collect = [&](size_t index,
                                    const control::StreamEvent& event) -> awaitable<Result<void>> {
    Choice& choice = choices[index];
    choice.text += event.delta.text;
    const std::vector<int32_t>& ids = event.delta.ids;
    if (with_ids) choice.token_ids.insert(choice.token_ids.end(), ids.begin(), ids.end());
    choice.logprobs.insert(choice.logprobs.end(), event.delta.logprobs.begin(),
                           event.delta.logprobs.end());
    if (event.end) {
      choice.view = *event.end;
      if (choice.view.result) choice.text = choice.view.result->text;
    }
    co_return Result<void>();
  };
  ALTLAS_CO_TRY_VOID(co_await read_choices(std::move(tasks), collect, services));
  co_return choices;
}

}  // namespace altlas::server
