// Events for the journal's tests and benches: seeded, with every field set to something that is not
// its default.
#pragma once

#include <string>
#include <vector>

#include "base/hash.h"
#include "base/philox.h"
#include "journal/events.h"

namespace altlas::journal {

inline TaskId task_id(uint64_t number) { return {mix64(number), mix64(number ^ 0xabcdef)}; }

inline TaskSpec full_spec(uint64_t number) {
  PhiloxStream random{number};
  TaskSpec spec;
  spec.id = task_id(number);
  spec.owner = "owner-" + std::to_string(number);
  spec.type = "embedding";
  spec.deployment = "qwen";
  spec.priority = Priority::kLow;
  spec.asked = 77;
  spec.deadline = -static_cast<int64_t>(random.below(1'000'000)) - 1;
  spec.idempotency_key = std::string("key\0with zero", 13);
  spec.body_hash = random.next();
  spec.estimated_memory = random.next();
  spec.strategy = Strategy::kPrefixAffinity;
  spec.specific_device = DeviceId{3};
  spec.batch_group = random.next() | 1;
  spec.durable = false;
  for (int i = 0; i < 40; ++i) spec.prompt.push_back(static_cast<int32_t>(random.next()));
  spec.prompt.add_payload("{\"a\": \"\xc3\x28\"}", 3);
  spec.prompt.push_back(7);
  spec.tokens_max = 77;
  spec.sampling.temperature = 0.25f;
  spec.sampling.top_p = 0.5f;
  spec.sampling.top_k = -1;
  spec.sampling.min_p = 0.125f;
  spec.sampling.repetition_penalty = 1.5f;
  spec.sampling.presence_penalty = -0.5f;
  spec.sampling.frequency_penalty = 0.75f;
  spec.sampling.seed = random.next();
  spec.sampling.logprobs = 0;
  spec.sampling.prompt_logprobs = 2;
  spec.sampling.ignore_eos = true;
  spec.sampling.min_tokens = 5;
  spec.sampling.skip_special_tokens = false;
  spec.sampling.shown_tokens = {4, 151001};
  spec.sampling.stop_token_ids = {3, 151000};
  spec.sampling.stop = {"\n\n", "\xff\xfe", ""};
  spec.sampling.logit_bias = {{-1, 0.5f}, {151000, -100.0f}};
  spec.sampling.grammar = {GrammarKind::kRegex, "[a-z]+\xff", {151002, 7}, "</t\xff>"};
  spec.adapter = "adapter";
  spec.embeds = true;
  return spec;
}

inline TaskResult full_result(uint64_t number) {
  TaskResult result;
  result.text = "text \xf0\x9f\x98 " + std::to_string(number);
  result.tokens = 12;
  result.finish_reason = FinishReason::kLength;
  result.stop_string = "stop";
  result.stop_token = 7;
  result.prompt_logprobs = {{1, -0.5f, {{1, -0.5f}, {2, -1.5f}}}, {-7, -2.0f, {}}};
  result.embedding = {0.25f, -2.0f};
  return result;
}

inline TaskEvent event_of(uint64_t number, TimeUs time, decltype(TaskEvent::what) what) {
  return TaskEvent{task_id(number), time, std::move(what)};
}

}  // namespace altlas::journal
