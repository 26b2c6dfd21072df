#include "server/tasks/follow.h"

#include <utility>

#include "server/http/sse.h"

namespace altlas::server {

using boost::asio::awaitable;

awaitable<Result<void>> follow(std::shared_ptr<control::Subscription> events, OnEvent on_event) {
  while (true) {
    auto event = co_await events->next();
    const bool last = !event.ok() || event->end.has_value();
    ALTLAS_CO_TRY_VOID(co_await on_event(std::move(event)));
    if (last) co_return Result<void>();
  }
}

Response stream_events(std::shared_ptr<control::Subscription> events, SayEvent say) {
  Response response = sse_response();
  response.stream = [events, say](WriteChunk write) -> awaitable<void> {
    const OnEvent on_event = [&](Result<control::StreamEvent> event) -> awaitable<Result<void>> {
      std::string text = say(event);
      if (text.empty()) co_return Result<void>();
      co_return co_await write(std::move(text));
    };
    static_cast<void>(co_await follow(events, on_event));  // The stream ends either way.
  };
  return response;
}

Result<void> failure_of(const control::TaskView& ended) {
  if (ended.status == TaskStatus::kFailed) return Error(ended.error_code, ended.error);
  if (ended.status == TaskStatus::kCanceled)
    return Error(ErrorCode::kCanceled, "the request was cancelled");
  return {};
}

}  // namespace altlas::server
