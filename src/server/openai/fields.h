// Fields that clients of vLLM and llama-server send beside OpenAI's: taken, or refused with a
// reason where leaving them out would change the answer.
#pragma once

#include "server/prompt/grammar_request.h"
#include "server/prompt/prompt.h"
#include "server/tasks/sampling.h"
#include "server/tasks/target.h"

namespace altlas::server {

inline constexpr int64_t kLogprobsMax = 20;  // Most likely tokens shown at one place.
inline constexpr int64_t kChoicesMax = 128;

// Fields for the chat template, which chat completions and /tokenize share.
struct TemplateFields {
  Refused chat_template;
  bool continue_final_message = false;
  std::optional<bool> add_generation_prompt;
  const boost::json::object* chat_template_kwargs = nullptr;

  static constexpr void fields(auto&& field) {
    using S = TemplateFields;
    field("chat_template", &S::chat_template,
          BodyField{.help = "Not taken",
                    .refused = "is not taken from requests: the model's own is used; "
                               "/v1/completions takes a prompt that you rendered"});
    field("continue_final_message", &S::continue_final_message,
          BodyField{.help = "The last message goes on instead of being answered"});
    field("add_generation_prompt", &S::add_generation_prompt,
          BodyField{.help = "True unless the last message goes on"});
    field("chat_template_kwargs", &S::chat_template_kwargs,
          BodyField{.help = "More variables for the model's chat template"});
  }
};
static_assert(fields_complete<TemplateFields>(), "describe every member in fields()");
// What is wrong goes into `reader`.
void read_template_fields(const TemplateFields& fields, JsonReader& reader, PromptSource& prompt);

struct StreamOptions {
  bool include_usage = false;

  static constexpr void fields(auto&& field) {
    using S = StreamOptions;
    field("include_usage", &S::include_usage,
          BodyField{.help = "A last chunk tells the tokens of prompts and answers"});
  }
};
static_assert(fields_complete<StreamOptions>(), "describe every member in fields()");
// Reads the options as other objects are read, with an error of its own.
void read_value(JsonReader& reader, std::string_view name, std::optional<StreamOptions>& value,
                const BodyField& info, const config::Config& now);

boost::json::object token_ids_schema(const config::Config& now);

// Fields that completions, chat completions and /infill share.
struct OpenAiFields {
  TargetFields target;
  std::optional<Priority> priority;
  bool stream = false;
  std::optional<StreamOptions> stream_options;
  GrammarFields grammar;
  SamplingFields sampling;
  std::optional<int64_t> best_of;
  bool use_beam_search = false;
  const boost::json::array* stop_token_ids = nullptr;
  bool skip_special_tokens = true;
  std::optional<int32_t> prompt_logprobs;
  bool include_stop_str_in_output = false;

  static constexpr void fields(auto&& field) {
    using S = OpenAiFields;
    field(&S::target);
    field("priority", &S::priority, kPriorityLevelField);
    field("stream", &S::stream, BodyField{.help = "The answer comes in server-sent events"});
    field("stream_options", &S::stream_options, BodyField{.shared = "StreamOptions"});
    field(&S::grammar);
    field(&S::sampling);
    field("best_of", &S::best_of,
          BodyField{.help = "Only n, or left out", .min = 1, .max = INT32_MAX});
    field("use_beam_search", &S::use_beam_search, BodyField{.help = "Only false"});
    field("stop_token_ids", &S::stop_token_ids,
          BodyField{.help = "Tokens that end the answer, beside the model's own",
                    .schema = token_ids_schema});
    field("skip_special_tokens", &S::skip_special_tokens,
          BodyField{.help = "False: control tokens are shown as they are spelled"});
    field("prompt_logprobs", &S::prompt_logprobs,
          BodyField{.help = "Log-probabilities of the prompt's tokens, with so many most likely "
                            "ones; not in streams",
                    .min = 0,
                    .max = kLogprobsMax});
    field("include_stop_str_in_output", &S::include_stop_str_in_output,
          BodyField{.help = "A stop string that ended the text is part of it"});
  }
};
static_assert(fields_complete<OpenAiFields>(), "describe every member in fields()");

// What must not be other than it is, stop_token_ids and prompt_logprobs; the first that is wrong
// goes into `reader`. `n`: choices per prompt.
void read_vllm_fields(const OpenAiFields& fields, int64_t n, JsonReader& reader,
                      const ServedModel& model, SamplingParams& sampling);

}  // namespace altlas::server
