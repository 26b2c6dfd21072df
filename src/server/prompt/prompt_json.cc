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

void read_special(JsonReader& reader, Prompt& prompt, bool parse_special) {
  prompt.parse_special = reader.boolean("parse_special", parse_special);
  prompt.add_special = reader.boolean("add_special_tokens", true);
}

Result<std::vector<Prompt>> read_prompts(JsonReader& reader, const std::string& name,
                                         const ServedModel& model) {
  const json::value* value = reader.value(name);
  if (value == nullptr)
    return invalid(name + ": is missing, should be a string, a list of strings, or token ids", name)
        .with_reason(kMissingParameter);
  std::vector<Prompt> prompts;
  const auto add = [&](const json::value& item) -> Result<void> {
    Prompt prompt;
    prompt.field = name;
    if (item.is_string()) {
      if (item.get_string().empty())
        return invalid(name + ": is empty, should have at least one character", name);
      prompt.text = std::string(item.get_string());
    } else if (item.is_array()) {
      prompt.kind = Prompt::Kind::kIds;
      ALTLAS_TRY(prompt.ids, read_ids(item.get_array(), model, name));
    } else {
      return invalid(name + ": should be a string, a list of strings, or token ids", name)
          .with_reason(kInvalidType);
    }
    prompts.push_back(std::move(prompt));
    return {};
  };
  const bool many =
      value->is_array() && !value->get_array().empty() && !value->get_array().front().is_number();
  if (!many) {
    ALTLAS_TRY_VOID(add(*value));
    return prompts;
  }
  if (value->get_array().size() > kPromptsMax)
    return invalid(fmt::format("{}: has {} prompts, at most {} are taken", name,
                               value->get_array().size(), kPromptsMax),
                   name);
  for (const json::value& item : value->get_array()) ALTLAS_TRY_VOID(add(item));
  return prompts;
}

}  // namespace altlas::server
