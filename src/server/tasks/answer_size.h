// AnswerSize: about what the tasks of one request and their answers hold, counted before the work.
#pragma once

#include <cstdint>

#include "server/http/request_memory.h"
#include "task/task.h"

namespace altlas::server {

// What a task's grammar, biases and stop strings take, in each of its copies.
int64_t field_bytes(const SamplingParams& sampling);

class AnswerSize {
 public:
  // A task with its prompt's ids. `tokens_max` 0: as many as there is room for, of which most
  // answers take few; a usual length is counted.
  void add(const TaskSpec& task);
  // Counts what was added since the last call.  Errors: those of MemoryLease::hold, with what makes
  // the request large.
  Result<void> hold(MemoryLease& memory);

  // Log-probabilities of prompts and answers at most: the tokens' own and the alternatives.
  int64_t logprobs() const { return logprobs_; }

 private:
  int64_t bytes_ = 0;
  int64_t held_ = 0;
  int64_t tasks_ = 0;
  int64_t prompt_tokens_ = 0;
  int64_t answer_tokens_ = 0;
  int64_t logprobs_ = 0;
  int64_t fields_ = 0;
};

}  // namespace altlas::server
