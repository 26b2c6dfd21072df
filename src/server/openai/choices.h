// Choices: the tasks behind one OpenAI request (prompts × n), read to their ends, one by one or as
// they come.
#pragma once

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <string>
#include <vector>

#include "server/tasks/task_json.h"

namespace altlas::server {

// All of one choice, once it is over.
struct Choice {
  std::string text;
  std::vector<int32_t> token_ids;  // Those that were generated, where they were asked for.
  std::vector<TokenLogprobs> logprobs;
  control::TaskView view;  // With its result; choices that fail end the request.
};

// Called for every event of every choice, on the caller's strand, in each choice's order.  An error
// ends the reading.
using OnChoiceEvent = std::function<boost::asio::awaitable<Result<void>>(
    size_t choice, const control::StreamEvent& event)>;

// Cancels a task whose answer nobody will read.
using CancelTask = std::function<void(TaskId)>;

// Reads all choices at once until each is over.  Errors: those of `on_event`, and of the first
// choice that failed; then, and where the reading itself is cancelled, `cancel` is called for each.
boost::asio::awaitable<Result<void>> read_choices(std::vector<control::OwnedTask> tasks,
                                                  OnChoiceEvent on_event, CancelTask cancel);
boost::asio::awaitable<Result<void>> read_choices(std::vector<control::OwnedTask> tasks,
                                                  OnChoiceEvent on_event, Services& services);
// As read_choices, collecting; with_ids: the ids of generated tokens too.
boost::asio::awaitable<Result<std::vector<Choice>>> collect_choices(
    std::vector<control::OwnedTask> tasks, bool with_ids, Services& services);

}  // namespace altlas::server
