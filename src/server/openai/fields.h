// Fields that clients of vLLM and llama-server send beside OpenAI's: taken, or refused with a
// reason where leaving them out would change the answer.
#pragma once

#include <initializer_list>

#include "server/json_reader.h"
#include "server/prompt/prompt.h"

namespace altlas::server {

inline constexpr int64_t kLogprobsMax = 20;  // Most likely tokens shown at one place.

// Of completions and chat completions; the first that can't be honoured goes into `reader`. `n`:
// choices per prompt.
void check_known_fields(JsonReader& reader, bool chat, int64_t n);
// Tokens that are generated at most: the first of `names` that is there, else `fallback`. Nothing:
// what the model has left, as llama-server's clients ask for by -1 (and -2).
std::optional<int64_t> read_tokens_max(JsonReader& reader,
                                       std::initializer_list<std::string_view> names, int64_t least,
                                       std::optional<int64_t> fallback);
// stop_token_ids, skip_special_tokens, prompt_logprobs, as vLLM has them.
void read_vllm_fields(JsonReader& reader, const ServedModel& model, bool stream,
                      SamplingParams& sampling);
// Chat only: add_generation_prompt, continue_final_message, chat_template_kwargs.
void read_template_fields(JsonReader& reader, Prompt& prompt);

}  // namespace altlas::server
