// What a user asked for (TaskSpec) and what became of it (TaskStatus, TaskResult).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "config/names.h"
#include "task/prompt.h"

namespace altlas {

// What the text must be, besides likely.
enum class GrammarKind : uint8_t { kNone, kJsonObject, kJsonSchema, kRegex, kGbnf };
std::string_view to_string(GrammarKind kind);

// A language that the generated text is a word of. The same text compiles to the same automaton on
// every replica.
struct Grammar {
  GrammarKind kind = GrammarKind::kNone;
  std::string text;  // Schema, pattern or rules; empty for kNone and kJsonObject.
  // What comes before the first `think_end` is free: from the first token on, or, with think_begin,
  // only where the text begins with those tokens. Empty: the whole text is held to the grammar.
  std::vector<int32_t> think_begin = {};
  std::string think_end = {};
  friend bool operator==(const Grammar&, const Grammar&) = default;
};

// How the next token is drawn. With the seed and the token ids it decides the whole text
// (counter-based randomness).
struct SamplingParams {
  float temperature = 0.7f;  // 0 is greedy.
  float top_p = 1.0f;
  int32_t top_k = 0;  // 0: all.
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint64_t seed = 0;  // Drawn by the server and recorded where the request gave none.
  // -1: none; n: the sampled token's and the n most likely tokens' (at most 20).
  int32_t logprobs = -1;
  // Also for the prompt's tokens, with this many most likely ones; -1: none.
  int32_t prompt_logprobs = -1;
  bool ignore_eos = false;
  int32_t min_tokens = 0;               // No end of generation before this many tokens.
  bool skip_special_tokens = true;      // Control tokens are no text; otherwise their spelling is.
  std::vector<int32_t> shown_tokens;    // Control tokens that are text all the same. Sorted.
  std::vector<int32_t> stop_token_ids;  // End the text as end-of-generation tokens do. Sorted.
  std::vector<std::string> stop;
  std::vector<std::pair<int32_t, float>> logit_bias;  // Token id, added to its logit. Sorted by id.
  Grammar grammar;

  friend bool operator==(const SamplingParams&, const SamplingParams&) = default;
};

enum class FinishReason : uint8_t {
  kNone,
  kStop,
  kLength
};  // kStop: end of generation or a stop string.
std::string_view to_string(FinishReason reason);

// One unit of work, as accepted. Everything a replica needs is in it, so a task can start again
// anywhere.
struct TaskSpec {
  TaskId id;
  std::string owner;  // Name of the key that asked; empty where no key is configured.
  std::string type = "text_generation";
  std::string deployment;  // Resolved from model or type.
  Priority priority = Priority::kNormal;
  std::optional<TimeUs> deadline;  // Absolute.
  TimeUs asked = 0;  // First asked for, where it was refused for want of room: it waits since then.
  std::string idempotency_key;  // Empty: none.
  // A hash of the parsed request, to tell another body under the same idempotency_key.
  uint64_t body_hash = 0;
  uint64_t estimated_memory = 0;     // Bytes reserved on the device until the task ends.
  std::optional<Strategy> strategy;  // Otherwise the configured default.
  std::optional<DeviceId> specific_device;
  uint64_t batch_group = 0;  // Tasks of one unsplit batch share it (> 0) and one device.
  // In the journal; false for requests that are answered in the same connection.
  bool durable = true;
  Prompt prompt;
  int32_t tokens_max = 128;     // Generated tokens at most; ≥ 1.
  SamplingParams sampling;
  std::string adapter;  // Name of the LoRA adapter; empty: the model itself.
  bool embeds = false;  // The answer is the prompt's embedding; nothing is generated.
};

enum class TaskStatus : uint8_t { kQueued, kRunning, kCompleted, kFailed, kCanceled };
std::string_view to_string(TaskStatus status);
std::optional<TaskStatus> parse_task_status(std::string_view name);
constexpr bool is_over(TaskStatus status) { return status >= TaskStatus::kCompleted; }

// The most likely tokens at one position; `logprob` are natural logarithms.
struct TokenLogprobs {
  int32_t id = 0;
  float logprob = 0;
  std::vector<std::pair<int32_t, float>> top;  // Most likely first.
  friend bool operator==(const TokenLogprobs&, const TokenLogprobs&) = default;
};

// What a replica says about a sequence as it goes on. Text is whole UTF-8 and never holds part of a
// stop string.
struct TokenDelta {
  uint32_t first_index = 0;  // Index of ids[0] among the task's generated tokens.
  std::vector<int32_t> ids;
  uint64_t text_offset = 0;  // Bytes of text said before this delta: no gap, no repetition.
  std::string text;
  std::vector<TokenLogprobs> logprobs;  // One per id where asked for, otherwise empty.
  // Before the first token, where asked for: of the prompt's tokens from the second on.
  std::vector<TokenLogprobs> prompt_logprobs;
};

struct TaskResult {
  std::string text;     // All of it; the payload's answer for deployments that are not models.
  uint32_t tokens = 0;  // Generated.
  FinishReason finish_reason = FinishReason::kNone;
  std::string stop_string;  // The one that ended it, if one did.
  std::vector<TokenLogprobs> prompt_logprobs;
  std::vector<float> embedding;  // A vector of length 1 (L2); empty unless the task `embeds`.
  int32_t stop_token = -1;       // The token of stop_token_ids that ended it.
};

}  // namespace altlas
