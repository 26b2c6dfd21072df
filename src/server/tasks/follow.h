// follow(): the one loop over a task's events, and streams of server-sent events made of it.
#pragma once

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <memory>
#include <string>

#include "control/service.h"
#include "server/http/http.h"

namespace altlas::server {

// Called for each event in order, on the caller's strand: also for the error that ends them. An
// error ends the loop.
using OnEvent =
    std::function<boost::asio::awaitable<Result<void>>(Result<control::StreamEvent> event)>;
// Reads events up to the task's end or their first error.  Errors: those of `on_event`.
boost::asio::awaitable<Result<void>> follow(std::shared_ptr<control::Subscription> events,
                                            OnEvent on_event);

// What a client is sent for an event; empty: nothing.
using SayEvent = std::function<std::string(const Result<control::StreamEvent>& event)>;
// The events as `say` writes them, until the task's end or until the client has gone.
Response stream_events(std::shared_ptr<control::Subscription> events, SayEvent say);

// Errors: those of a task that failed, kCanceled.
Result<void> failure_of(const control::TaskView& ended);

}  // namespace altlas::server
