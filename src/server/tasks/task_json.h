// Tasks on their way: as read from a body, submitted, and as /task answers them.
#pragma once

#include <boost/json/fwd.hpp>

#include "control/views.h"
#include "server/handlers.h"
#include "server/json_reader.h"

namespace altlas::server {

// A task as parsed, its text not yet tokenized.
struct PendingTask {
  TaskSpec spec;
  PromptSource prompt;
  ServedModelPointer model;
  // The deadline, counted from its reading, as spec.deadline says absolutely.
  std::optional<TimeUs> deadline_after;
  bool seed_drawn = false;   // The request gave none.
  bool same_prompt = false;  // As the task's before it, whose ids it takes; `prompt` is not used.
  std::string item;          // "batch[2]", where a request has several bodies.
  std::string place;         // "prompt[2]", where it has several prompts.
};

// The first `size` values of an embedding, of length 1 again (Matryoshka); all of a shorter one.
void shorten_embedding(std::vector<float>& values, size_t size);
// Makes the task one whose answer is its prompt's embedding.
void as_embedding(PendingTask& task);

boost::json::object task_to_json(const control::TaskView& task);
boost::json::object device_to_json(const control::DeviceView& device);
// `usage` of an answer, as OpenAI has it.
boost::json::object usage_json(uint64_t prompt_tokens, uint64_t completion_tokens);

// Admits, tokenizes and submits one task; the places are given back on any failure.
boost::asio::awaitable<Result<std::vector<control::Placed>>> submit_tasks(
    std::vector<PendingTask> tasks, bool split, Services& services, uint32_t min_per_device = 1);
// As submit_tasks for tasks that are answered in the same request and are not durable: each with
// its answer, cancelled when the client goes away. What they and their answers will hold is counted
// before.  Errors: also those of MemoryLease::hold.
boost::asio::awaitable<Result<std::vector<control::OwnedTask>>> submit_owned(
    std::vector<PendingTask> tasks, Asker asker, Services& services);
// As submit_owned for one task: its end.
boost::asio::awaitable<Result<control::TaskView>> run_task(PendingTask task, Asker asker,
                                                           Services& services);

}  // namespace altlas::server
