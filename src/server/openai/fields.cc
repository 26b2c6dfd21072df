#include "server/openai/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "server/body/read.h"
#include "text/json_text.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr size_t kTemplateValuesMax = 64;
constexpr size_t kStopTokensMax = 256;
// Names that the server itself gives to a template.
constexpr std::string_view kTemplateNames[] = {"messages",  "tools",     "add_generation_prompt",
                                               "bos_token", "eos_token", "continue_final_message"};

std::vector<int32_t> read_stop_tokens(const json::array* list, JsonReader& reader,
                                      const ServedModel& model) {
  std::vector<int32_t> out;
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

void read_value(JsonReader& reader, std::string_view name, std::optional<StreamOptions>& value,
                const BodyField&, const config::Config& now) {
  const json::object* object = reader.object(name);
  if (object == nullptr) return;
  JsonReader inner(*object, reader.path_of(name));
  read_fields(inner, value.emplace(), now);
  if (!inner.status().ok()) reader.fail(name, "include_usage should be true or false");
}

json::object token_ids_schema(const config::Config&) {
  const json::object id{{"type", "integer"}, {"minimum", 0}};
  return {{"type", "array"}, {"maxItems", kStopTokensMax}, {"items", id}};
}

void read_vllm_fields(const OpenAiFields& fields, int64_t n, JsonReader& reader,
                      const ServedModel& model, SamplingParams& sampling) {
  if (fields.best_of && *fields.best_of != n)
    reader.fail("best_of", fmt::format("is {}, should be n ({}) or left out: every choice that is "
                                       "generated is answered",
                                       *fields.best_of, n));
  if (fields.use_beam_search)
    reader.fail("use_beam_search",
                "is true; only sampling and greedy choice (temperature 0) are "
                "there");
  sampling.stop_token_ids = read_stop_tokens(fields.stop_token_ids, reader, model);
  sampling.skip_special_tokens = fields.skip_special_tokens;
  if (!fields.prompt_logprobs) return;
  if (fields.stream)
    reader.fail("prompt_logprobs",
                "is not there in streams: leave out stream, or ask "
                "/v1/completions for echo with logprobs");
  sampling.prompt_logprobs = *fields.prompt_logprobs;
}

void read_template_fields(const TemplateFields& fields, JsonReader& reader, PromptSource& prompt) {
  prompt.continue_final = fields.continue_final_message;
  prompt.add_generation_prompt = fields.add_generation_prompt.value_or(!prompt.continue_final);
  if (prompt.continue_final && prompt.add_generation_prompt)
    reader.fail("add_generation_prompt",
                "and continue_final_message can't both be true: the last message is either "
                "answered or gone on with");
  const json::object* values = fields.chat_template_kwargs;
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
