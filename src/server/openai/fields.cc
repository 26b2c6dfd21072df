#include "server/openai/fields.h"
#include "text/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr size_t kTemplateValuesMax = 64;
constexpr size_t kStopTokensMax = 256;
// What the server itself hands to a template.
constexpr std::string_view kTemplateNames[] = {"messages",  "tools",     "add_generation_prompt",
                                               "bos_token", "eos_token", "continue_final_message"};

std::vector<int32_t> read_stop_tokens(JsonReader& reader, const ServedModel& model) {
  std::vector<int32_t> out;
  const json::array* list = reader.array("stop_token_ids");
  if (list == nullptr) return out;
  if (list->size() > kStopTokensMax) {
    reader.fail("stop_token_ids",
                fmt::format("has {} ids, at most {} are taken", list->size(), kStopTokensMax));
    return out;
  }
  for (const json::value& item : *list) {
    const auto id = whole_number(item);
    if (!id || *id < 0 || *id >= model.tokenizer->vocab_size()) {
      reader.fail("stop_token_ids", fmt::format("holds {}, should hold token ids from 0 to {}",
                                                text::json_text(item).substr(0, 32),
                                                model.tokenizer->vocab_size() - 1));
      return {};
    }
    out.push_back(static_cast<int32_t>(*id));
  }
  std::ranges::sort(out);
  const auto doubles = std::ranges::unique(out);
  out.erase(doubles.begin(), doubles.end());
  return out;
}

}  // namespace

void check_known_fields(JsonReader& reader, bool chat, int64_t n) {
  if (const auto suffix = reader.optional_text("suffix"); chat && suffix && !suffix->empty())
    reader.fail("suffix", "has no place in a conversation: /v1/completions fills in between");
  if (const auto best = reader.optional_integer("best_of", 1, INT32_MAX); best && *best != n)
    reader.fail("best_of", fmt::format("is {}, should be n ({}) or left out: every choice that is "
                                       "generated is answered",
                                       *best, n));
  if (reader.boolean("use_beam_search", false))
    reader.fail("use_beam_search",
                "is true; only sampling and greedy choice (temperature 0) are "
                "there");
}

std::optional<int64_t> read_tokens_max(JsonReader& reader,
                                       std::initializer_list<std::string_view> names, int64_t least,
                                       std::optional<int64_t> fallback) {
  for (const std::string_view name : names) {
    const auto tokens = reader.optional_integer(name, -2, INT32_MAX);
    if (!tokens) continue;
    if (*tokens < 0) return std::nullopt;
    if (*tokens < least)
      reader.fail(name, fmt::format("is {}, should be from {} to {}, or -1: what the model has left",
                                    *tokens, least, INT32_MAX));
    return tokens;
  }
  return fallback;
}

void read_vllm_fields(JsonReader& reader, const ServedModel& model, bool stream,
                      SamplingParams& sampling) {
  sampling.stop_token_ids = read_stop_tokens(reader, model);
  sampling.skip_special_tokens = reader.boolean("skip_special_tokens", true);
  const auto prompt = reader.optional_integer("prompt_logprobs", 0, kLogprobsMax);
  if (!prompt) return;
  if (stream)
    reader.fail("prompt_logprobs",
                "is not there in streams: leave out stream, or ask "
                "/v1/completions for echo with logprobs");
  sampling.prompt_logprobs = static_cast<int32_t>(*prompt);
}

void read_template_fields(JsonReader& reader, Prompt& prompt) {
  if (reader.has("chat_template"))
    reader.fail("chat_template",
                "is not taken from requests: the model's own is used; /v1/completions takes a "
                "prompt that you rendered");
  prompt.continue_final = reader.boolean("continue_final_message", false);
  prompt.add_generation_prompt = reader.boolean("add_generation_prompt", !prompt.continue_final);
  if (prompt.continue_final && prompt.add_generation_prompt)
    reader.fail("add_generation_prompt",
                "and continue_final_message can't both be true: the last message is either "
                "answered or gone on with");
  const json::object* values = reader.object("chat_template_kwargs");
  if (values == nullptr) return;
  if (values->size() > kTemplateValuesMax)
    return reader.fail("chat_template_kwargs", fmt::format("has {} values, at most {} are taken",
                                                           values->size(), kTemplateValuesMax));
  for (const auto& [key, value] : *values)
    if (std::ranges::find(kTemplateNames, std::string_view(key)) != std::end(kTemplateNames))
      return reader.fail(
          "chat_template_kwargs",
          fmt::format("names '{}', which has a field of its own", std::string_view(key)));
  prompt.template_values = std::make_shared<json::value>(*values);
}

}  // namespace altlas::server
