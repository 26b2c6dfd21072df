#include "server/tasks/answer_size.h"

#include <fmt/format.h>

#include <utility>

namespace altlas::server {
namespace {

constexpr int64_t kUsualTokens = 1024;  // Of an answer whose request names no length.
constexpr int64_t kTaskBytes = 4096;    // Records and channels.
constexpr int64_t kTokenBytes = 24;     // An id in the task and in its record, its text.
constexpr int64_t kLogprobBytes = 40;   // An id with its value in events, record and answer.

}  // namespace

void AnswerSize::add(const TaskSpec& task) {
  const auto prompt = static_cast<int64_t>(task.prompt.size());
  const int64_t answer = task.embeds ? 0 : task.tokens_max > 0 ? task.tokens_max : kUsualTokens;
  const SamplingParams& sampling = task.sampling;
  const int64_t logprobs =
      (sampling.prompt_logprobs + 1) * prompt + (sampling.logprobs + 1) * answer;
  ++tasks_;
  prompt_tokens_ += prompt;
  answer_tokens_ += answer;
  logprobs_ += logprobs;
  bytes_ += kTaskBytes + kTokenBytes * (prompt + answer) + kLogprobBytes * logprobs;
}

Result<void> AnswerSize::hold(MemoryLease& memory) {
  const auto held = memory.add(bytes_ - std::exchange(held_, bytes_));
  if (held.ok()) return {};
  return Error(held.error())
      .with_context(fmt::format("prompts of {} tokens, {} answers of up to {} tokens and {} "
                                "log-probabilities",
                                prompt_tokens_, tasks_, answer_tokens_, logprobs_));
}

}  // namespace altlas::server
