#include "server/prompt/prompt_json.h"

#include <fmt/format.h>

#include <boost/json.hpp>

namespace altlas::server {

namespace json = boost::json;

Result<std::vector<int32_t>> read_ids(const json::array& list, const ServedModel& model,
                                      const std::string& name) {
  std::vector<int32_t> ids;
  for (const json::value& item : list) {
    const auto id = whole_number(item);
    if (!id || *id < 0 || *id >= model.tokenizer->vocab_size())
      return invalid(fmt::format("{}: should hold token ids from 0 to {}", name,
                                 model.tokenizer->vocab_size() - 1),
                     name);
    ids.push_back(static_cast<int32_t>(*id));
  }
  if (ids.empty()) return invalid(name + ": is empty, should have at least one token", name);
  return ids;
}

json::object id_list_schema(const config::Config&) {
  return {{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}};
}

json::object prompts_schema(const config::Config& now) {
  const json::object text{{"type", "string"}, {"minLength", 1}};
  json::object ids = id_list_schema(now);
  ids["minItems"] = 1;
  const auto many = [](const json::object& one) {
    return json::object{
        {"type", "array"}, {"minItems", 1}, {"maxItems", kPromptsMax}, {"items", one}};
  };
  return {{"anyOf", json::array{text, many(text), ids, many(ids)}}};
}

Result<std::vector<PromptSource>> read_prompts(const json::value& value, const std::string& name,
                                               const ServedModel& model) {
  std::vector<PromptSource> prompts;
  const auto add = [&](const json::value& item) -> Result<void> {
    PromptSource prompt;
    prompt.field = name;
    if (item.is_string()) {
      if (item.get_string().empty())
        return invalid(name + ": is empty, should have at least one character", name);
      prompt.text = std::string(item.get_string());
    } else if (item.is_array()) {
      prompt.kind = PromptSource::Kind::kIds;
      ALTLAS_TRY(prompt.ids, read_ids(item.get_array(), model, name));
    } else {
      return invalid(name + ": should be a string, a list of strings, or token ids", name)
          .with_reason(kInvalidType);
    }
    prompts.push_back(std::move(prompt));
    return {};
  };
  const bool many =
      value.is_array() && !value.get_array().empty() && !value.get_array().front().is_number();
  if (!many) {
    ALTLAS_TRY_VOID(add(value));
    return prompts;
  }
  if (value.get_array().size() > kPromptsMax)
    return invalid(fmt::format("{}: has {} prompts, at most {} are taken", name,
                               value.get_array().size(), kPromptsMax),
                   name);
  for (const json::value& item : value.get_array()) ALTLAS_TRY_VOID(add(item));
  return prompts;
}

}  // namespace altlas::server
