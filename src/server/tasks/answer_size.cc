#include "server/tasks/answer_size.h"

#include <fmt/format.h>

#include <utility>

namespace altlas::server {
namespace {

// The answer's length if the request names none.
constexpr int64_t kUsualTokens = 1024;
constexpr int64_t kTaskBytes = 4096;    // Records and channels of a task.
constexpr int64_t kTokenBytes = 24;     // An id in the task and in its record, and its text.
constexpr int64_t kLogprobBytes = 40;   // An id with its value, in events, record and answer.
// Copies of a field: two on the way to a replica, and one there.
constexpr int64_t kCopies = 3;

}  // namespace

int64_t field_bytes(const SamplingParams& sampling) {
  size_t bytes = sampling.grammar.text.size() + sampling.grammar.think_end.size();
  for (const std::string& stop : sampling.stop) bytes += sizeof stop + stop.size();
  bytes += sampling.logit_bias.size() * sizeof(std::pair<int32_t, float>);
  for (const auto* ids :
       {&sampling.grammar.think_begin, &sampling.shown_tokens, &sampling.stop_token_ids})
    bytes += ids->size() * sizeof(int32_t);
  return static_cast<int64_t>(bytes);
}

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
  const int64_t fields = kCopies * field_bytes(sampling);
  fields_ += fields;
  bytes_ += kTaskBytes + fields + kTokenBytes * (prompt + answer) + kLogprobBytes * logprobs;
}

Result<void> AnswerSize::hold(MemoryLease& memory) {
  const auto held = memory.add(bytes_ - std::exchange(held_, bytes_));
  if (held.ok()) return {};
  return Error(held.error())
      .with_context(fmt::format("prompts of {} tokens, {} answers of up to {} tokens and {} "
                                "log-probabilities, {} bytes of grammars, biases and stop strings",
                                prompt_tokens_, tasks_, answer_tokens_, logprobs_, fields_));
}

}  // namespace altlas::server
