#include "server/tasks/answer_size.h"

#include <gtest/gtest.h>

#include <string>

namespace altlas::server {
namespace {

TaskSpec task(size_t prompt, int32_t tokens, int32_t logprobs, int32_t prompt_logprobs) {
  TaskSpec out;
  out.prompt = std::vector<int32_t>(prompt);
  out.tokens_max = tokens;
  out.sampling.logprobs = logprobs;
  out.sampling.prompt_logprobs = prompt_logprobs;
  return out;
}

TEST(AnswerSize, GrowsWithTheProductOfItsFields) {
  struct Row {
    int64_t tasks;
    TaskSpec each;
    bool fits;  // Whether it fits in 512 MiB.
  };
  const Row rows[] = {
      {1, task(30000, 2000, 20, 20), true},  {128, task(500, 1000, -1, -1), true},
      {1000, task(480, 1, -1, 20), true},    {128, task(100, 0, 20, -1), true},
      {1000, task(2000, 1, -1, 20), false},  {128, task(100, 32000, 5, -1), false},
      {1000, task(32000, 1, -1, -1), false}, {2048, task(10, 30000, -1, -1), false},
  };
  for (const Row& row : rows) {
    const auto memory = std::make_shared<RequestMemory>(int64_t{512} << 20);
    MemoryLease lease(memory);
    AnswerSize size;
    bool fits = true;
    for (int64_t i = 0; i < row.tasks && fits; ++i) {
      size.add(row.each);
      const auto held = size.hold(lease);
      fits = held.ok();
      if (fits) continue;
      EXPECT_EQ(held.error().code(), ErrorCode::kTooLarge);
      EXPECT_NE(held.error().message().find(std::to_string(i + 1) + " answers"), std::string::npos)
          << held.error().message();
    }
    EXPECT_EQ(fits, row.fits) << row.tasks << " of " << row.each.prompt.size();
  }
}

// Goal: what every task of a request carries beside its prompt counts once for each task. Method:
// each such field, at the largest size that one task may have, many times.
TEST(AnswerSize, CountsWhatEachTaskCarries) {
  TaskSpec grammar = task(1, 1, -1, -1), stops = grammar, biases = grammar, stop_ids = grammar;
  grammar.sampling.grammar.text.assign(1 << 20, 'x');
  stops.sampling.stop.assign(1000, std::string(1000, 'x'));
  biases.sampling.logit_bias.resize(100'000);
  stop_ids.sampling.stop_token_ids.resize(250'000);
  for (const TaskSpec& each : {grammar, stops, biases, stop_ids}) {
    const auto memory = std::make_shared<RequestMemory>(int64_t{512} << 20);
    MemoryLease lease(memory);
    AnswerSize size;
    int fitting = 0;
    for (; fitting < 1000; ++fitting) {
      size.add(each);
      if (!size.hold(lease).ok()) break;
    }
    EXPECT_GT(fitting, 100);
    EXPECT_LT(fitting, 250);
  }
}

}  // namespace
}  // namespace altlas::server
