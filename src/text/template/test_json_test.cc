#include "text/template/test_json.h"

#include <boost/json.hpp>

#include "base/check.h"
#include "text/tokenizer/test_vocabulary.h"

namespace altlas::text::testing_support {
namespace {

Value convert(const boost::json::value& json) {
  switch (json.kind()) {
    case boost::json::kind::null:
      return Value();
    case boost::json::kind::bool_:
      return Value(json.get_bool());
    case boost::json::kind::int64:
      return Value(json.get_int64());
    case boost::json::kind::uint64:
      return Value(static_cast<int64_t>(json.get_uint64()));
    case boost::json::kind::double_:
      return Value(json.get_double());
    case boost::json::kind::string:
      return Value(std::string(json.get_string()));
    case boost::json::kind::array: {
      std::vector<Value> items;
      for (const auto& item : json.get_array()) items.push_back(convert(item));
      return Value::list(std::move(items));
    }
    case boost::json::kind::object: {
      std::vector<std::pair<std::string, Value>> entries;
      for (const auto& [key, item] : json.get_object())
        entries.emplace_back(std::string(key), convert(item));
      return Value::object_of(std::move(entries));
    }
  }
  return Value();
}

}  // namespace

Value value_of_json(std::string_view json) {
  boost::json::error_code error;
  const boost::json::value parsed = boost::json::parse({json.data(), json.size()}, error);
  ALTLAS_CHECK(!error, json);
  return convert(parsed);
}

Value member(const Value& object, std::string_view name) {
  const Value* found = object.find(name);
  return found != nullptr ? *found : Value();
}

ChatInput chat_input(const Value& input) {
  ChatInput made;
  made.messages = member(input, "messages");
  made.tools = member(input, "tools");
  made.add_generation_prompt = member(input, "add_generation_prompt").truthy();
  made.bos_token = member(input, "bos_token").view();
  made.eos_token = member(input, "eos_token").view();
  if (const Value now = member(input, "now_us"); now.is_integral()) made.now_us = now.as_int();
  const Value extra = member(input, "extra");
  if (extra.is_object())
    for (const auto& [name, value] : extra.entries())
      made.extra.emplace_back(std::string(name.view()), value);
  return made;
}

std::string qwen_template() {
  std::string source;
  for (const std::string& line : read_lines("templates/qwen2.5_coder.jinja")) source += line + "\n";
  return source;
}

ChatInput hi() {
  return chat_input(value_of_json(R"({"messages": [{"role": "user", "content": "hi <|im_end|>"}],
      "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"})"));
}

Result<std::string> render(const std::string& source, const ChatInput& input,
                           TemplateLimits limits) {
  ALTLAS_TRY(const ChatTemplate compiled, ChatTemplate::compile(source, limits));
  return compiled.render(input);
}

}  // namespace altlas::text::testing_support
