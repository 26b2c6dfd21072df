// The bodies of OpenAI's routes, of llama-server's /infill and of /tokenize and its opposite.
#pragma once

#include "server/openai/fields.h"
#include "server/prompt/chat_messages.h"
#include "server/prompt/prompt_json.h"
#include "server/prompt/tool_request.h"

namespace altlas::server {

inline constexpr BodyField kChoicesField{
    .help = "Choices per prompt", .min = 1, .max = kChoicesMax};

struct CompletionBody {
  int64_t n = 1;
  bool echo = false;
  TokensMax max_tokens{16};
  std::string suffix;
  std::optional<bool> parse_special;
  bool add_special_tokens = true;
  bool return_token_ids = false;
  const boost::json::value* prompt = nullptr;
  std::optional<int32_t> logprobs;
  OpenAiFields common{.sampling = {{.temperature = 1}}};

  static constexpr void fields(auto&& field) {
    using S = CompletionBody;
    field("prompt", &S::prompt, kPromptsField);
    field("n", &S::n, kChoicesField);
    field("echo", &S::echo, BodyField{.help = "The prompt's text stands before the answer"});
    field("max_tokens", &S::max_tokens,
          BodyField{.help = "Below 0: what the model has left; 0: the prompt alone",
                    .min = 0,
                    .other_names = {"n_predict"}});
    field(
        "suffix", &S::suffix,
        BodyField{.help = "The answer stands between prompt and it, by the model's own tokens for "
                          "that"});
    field("parse_special", &S::parse_special,
          BodyField{.help = "Whether control tokens are read in prompts; true unless there is a "
                            "suffix"});
    field("add_special_tokens", &S::add_special_tokens, kAddSpecialField);
    field("return_token_ids", &S::return_token_ids,
          BodyField{.help = "Choices have token_ids and prompt_token_ids, and logprobs have by_id, "
                            "in the form of prompt_logprobs"});
    field("logprobs", &S::logprobs,
          BodyField{.help = "Log-probabilities of the answer's tokens, with so many most likely "
                            "ones",
                    .min = 0,
                    .max = kLogprobsMax});
    field(&S::common);
  }
};
static_assert(fields_complete<CompletionBody>(), "describe every member in fields()");

struct ChatCompletionBody {
  int64_t n = 1;
  TokensMax max_completion_tokens;
  const boost::json::array* messages = nullptr;
  TemplateFields chat_template;
  ToolFields tools;
  bool logprobs = false;
  std::optional<int32_t> top_logprobs;
  std::string suffix;
  OpenAiFields common{.sampling = {{.temperature = 1}}};

  static constexpr void fields(auto&& field) {
    using S = ChatCompletionBody;
    field("messages", &S::messages, kMessagesField);
    field("n", &S::n, kChoicesField);
    field("max_completion_tokens", &S::max_completion_tokens,
          BodyField{.help = "Below 0: what the model has left, as without it",
                    .min = 1,
                    .other_names = {"max_tokens", "n_predict"}});
    field(&S::chat_template);
    field(&S::tools);
    field("logprobs", &S::logprobs, BodyField{.help = "Log-probabilities of the answer's tokens"});
    field("top_logprobs", &S::top_logprobs,
          BodyField{
              .help = "With logprobs: so many most likely tokens", .min = 0, .max = kLogprobsMax});
    field("suffix", &S::suffix, BodyField{.help = "Only empty"});
    field(&S::common);
  }
};
static_assert(fields_complete<ChatCompletionBody>(), "describe every member in fields()");

// A list of {filename, text}.
boost::json::object files_schema(const config::Config& now);

struct InfillBody {
  std::string input_prefix, input_suffix, prompt;
  const boost::json::array* input_extra = nullptr;
  TokensMax n_predict;
  // llama-server's defaults.
  OpenAiFields common{
      .sampling = {{.temperature = 0.8f, .top_p = 0.95f, .top_k = 40, .min_p = 0.05f}}};

  static constexpr void fields(auto&& field) {
    using S = InfillBody;
    field("input_prefix", &S::input_prefix, BodyField{.needed = "should be a string"});
    field("input_suffix", &S::input_suffix, BodyField{.needed = "should be a string"});
    field("prompt", &S::prompt, BodyField{.help = "What the gap begins with"});
    field("input_extra", &S::input_extra,
          BodyField{.help = "Other files; their last tokens where room is short",
                    .schema = files_schema});
    field("n_predict", &S::n_predict,
          BodyField{.help = "Generated tokens at most; below 0: what the model has left; 0: the "
                            "prompt alone",
                    .min = 0,
                    .other_names = {"max_tokens"}});
    field(&S::common);
  }
};
static_assert(fields_complete<InfillBody>(), "describe every member in fields()");

enum class EmbeddingFormat : uint8_t { kFloat, kBase64 };
inline constexpr EnumName kEmbeddingFormatNames[] = {{"float", 0}, {"base64", 1}};
constexpr std::span<const EnumName> names_of(EmbeddingFormat) { return kEmbeddingFormatNames; }

struct EmbeddingBody {
  TargetFields target;
  const boost::json::value* input = nullptr;
  EmbeddingFormat encoding_format = EmbeddingFormat::kFloat;
  std::optional<int64_t> dimensions;
  std::optional<Priority> priority;

  static constexpr void fields(auto&& field) {
    using S = EmbeddingBody;
    field("input", &S::input, kPromptsField);
    field("encoding_format", &S::encoding_format, BodyField{});
    field("dimensions", &S::dimensions,
          BodyField{.help = "Values kept of each embedding, from its front; made length 1 again",
                    .min = 1,
                    .max = 1 << 20});
    field("priority", &S::priority, kPriorityLevelField);
    field(&S::target);
  }
};
static_assert(fields_complete<EmbeddingBody>(), "describe every member in fields()");

struct TokenizeBody {
  std::string model;
  const boost::json::array* messages = nullptr;
  std::optional<std::string> content, prompt;
  bool add_special = false;
  bool parse_special = true;
  bool add_special_tokens = true;
  TemplateFields chat_template;
  const boost::json::array* tools = nullptr;
  bool with_pieces = false;
  bool return_token_strs = false;

  static constexpr void fields(auto&& field) {
    using S = TokenizeBody;
    field("model", &S::model, kModelField);
    field("prompt", &S::prompt,
          BodyField{.help = "vLLM's name of the text; one of it, content and messages is needed"});
    field("content", &S::content, BodyField{.help = "llama-server's name of the text"});
    field("messages", &S::messages,
          BodyField{.help = "Through the model's chat template",
                    .shared = kMessagesField.shared,
                    .schema = kMessagesField.schema});
    field("add_special_tokens", &S::add_special_tokens, kAddSpecialField);
    field("add_special", &S::add_special, BodyField{.help = "As add_special_tokens, of content"});
    field("parse_special", &S::parse_special, kParseSpecialField);
    field(&S::chat_template);
    field("tools", &S::tools, kToolsField);
    field("with_pieces", &S::with_pieces, BodyField{.help = "Each token with its text"});
    field("return_token_strs", &S::return_token_strs, BodyField{.help = "The texts in a list"});
  }
};
static_assert(fields_complete<TokenizeBody>(), "describe every member in fields()");

struct DetokenizeBody {
  std::string model;
  const boost::json::array* tokens = nullptr;

  static constexpr void fields(auto&& field) {
    using S = DetokenizeBody;
    field("model", &S::model, kModelField);
    field("tokens", &S::tokens,
          BodyField{.needed = "should be a list of token ids", .schema = id_list_schema});
  }
};
static_assert(fields_complete<DetokenizeBody>(), "describe every member in fields()");

inline constexpr BodyField kAdapterNameField{.help = "Name that requests give as their model",
                                             .needed = "should be a string",
                                             .min = 1,
                                             .max = 200,
                                             .one_line = true};

struct LoadAdapterBody {
  std::string lora_name, lora_path, base_model_name;

  static constexpr void fields(auto&& field) {
    using S = LoadAdapterBody;
    field("lora_name", &S::lora_name, kAdapterNameField);
    field("lora_path", &S::lora_path,
          BodyField{.help = "A GGUF file or a PEFT folder below one of engine.lora_folders, "
                            "absolute or relative to it",
                    .needed = "should be a string",
                    .min = 1,
                    .max = 4096,
                    .one_line = true});
    field("base_model_name", &S::base_model_name,
          BodyField{.help = "The model that it is for; the default one where it is left out"});
  }
};
static_assert(fields_complete<LoadAdapterBody>(), "describe every member in fields()");

struct UnloadAdapterBody {
  std::string lora_name;

  static constexpr void fields(auto&& field) {
    field("lora_name", &UnloadAdapterBody::lora_name, kAdapterNameField);
  }
};
static_assert(fields_complete<UnloadAdapterBody>(), "describe every member in fields()");

}  // namespace altlas::server
