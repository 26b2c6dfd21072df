#include "server/prompt/chat_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

namespace altlas::server {
namespace json = boost::json;
namespace {

constexpr size_t kMessagesMax = 4096;
constexpr std::string_view kRoles[] = {"system", "user",      "assistant",
                                       "tool",   "developer", "function"};

constexpr std::string_view kPartTypes[] = {"text", "input_text", "output_text", "refusal",
                                           "thinking"};

// A part's text, and whether it is reasoning. read_part() returns nothing for a part that is no
// text.
struct Part {
  std::string_view text;
  bool thinking = false;
};
std::optional<Part> read_part(const json::value& part) {
  if (part.is_string()) return Part{part.get_string()};
  const json::object* object = part.if_object();
  const json::value* type = object != nullptr ? object->if_contains("type") : nullptr;
  if (type == nullptr || !type->is_string()) return std::nullopt;
  const std::string_view name = type->get_string();
  if (std::ranges::find(kPartTypes, name) == std::end(kPartTypes)) return std::nullopt;
  const bool own = name == "refusal" || name == "thinking";
  const json::value* text = object->if_contains(own ? name : "text");
  if (text == nullptr || !text->is_string()) return std::nullopt;
  return Part{text->get_string(), name == "thinking"};
}

// Brings parts into one form. Returns false if a part is not text.
bool read_parts(const json::array& parts, json::object& message) {
  json::array texts;
  std::string thinking;
  for (const json::value& one : parts) {
    const auto part = read_part(one);
    if (!part) return false;
    if (part->thinking)
      thinking += (thinking.empty() ? "" : "\n") + std::string(part->text);
    else
      texts.push_back({{"type", "text"}, {"text", part->text}});
  }
  if (!thinking.empty()) message.emplace("reasoning_content", thinking);
  if (texts.empty())
    message["content"] = "";
  else
    message["content"] = std::move(texts);
  return true;
}

// Drops members that are null: clients send an answer back as they keep it.
json::object without_nulls(const json::object& object) {
  json::object out;
  for (const auto& [key, value] : object)
    if (!value.is_null()) out.emplace(key, value);
  return out;
}

// Turns a call's arguments into an object, as transformers gives them to templates; clients send
// them as a string of JSON. No arguments are an empty object.
void unfold_arguments(JsonReader& inner, json::value& calls) {
  if (!calls.is_array())
    return inner.fail("tool_calls", "should be a list of calls", kInvalidType);
  for (size_t i = 0; i < calls.get_array().size(); ++i) {
    json::value& call = calls.get_array()[i];
    json::value* function = call.is_object() ? call.get_object().if_contains("function") : nullptr;
    json::object* called = function != nullptr ? function->if_object() : nullptr;
    const json::value* name = called != nullptr ? called->if_contains("name") : nullptr;
    if (name == nullptr || !name->is_string())
      return inner.fail(fmt::format("tool_calls[{}].function", i),
                        "should be {\"name\": …, \"arguments\": …}");
    json::value& arguments = (*called)["arguments"];
    if (arguments.is_null()) arguments = json::object();
    if (!arguments.is_string()) continue;
    const std::string_view text = arguments.get_string();
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
      arguments = json::object();
      continue;
    }
    boost::system::error_code code;
    json::value read = json::parse(text, code);
    if (!code && read.is_object()) arguments = std::move(read);
  }
}

// Turns `function_call` into the list that replaced it. An empty list is dropped.
void use_newer_calls(json::object& message) {
  if (const json::value* calls = message.if_contains("tool_calls");
      calls != nullptr && calls->is_array() && calls->get_array().empty())
    message.erase("tool_calls");
  const json::value* older = message.if_contains("function_call");
  if (older == nullptr || !older->is_object()) return;
  const json::object call{{"type", "function"}, {"function", *older}};
  message.emplace("tool_calls", json::array{call});
  message.erase("function_call");
}

void read_content(JsonReader& inner, json::object& message) {
  const json::value* content = inner.value("content");
  const json::value* role = message.if_contains("role");
  const std::string_view who =
      role != nullptr && role->is_string() ? std::string_view(role->get_string()) : "";
  if (content != nullptr && content->is_array()) {
    if (!read_parts(content->get_array(), message))
      inner.fail("content",
                 "holds a part that is not {\"type\": \"text\", \"text\": …}; only text is taken");
  } else if (content != nullptr && !content->is_string()) {
    inner.fail("content", "should be a string or a list of text parts", kInvalidType);
  } else if (content == nullptr) {
    if (who != "assistant" && who != "tool")
      inner.fail("content", "is missing, should be a string", kMissingParameter);
    const json::value* refusal = message.if_contains("refusal");
    message["content"] = refusal != nullptr && refusal->is_string() ? *refusal : json::value("");
  }
}

}  // namespace

json::object messages_schema(const config::Config&) {
  const json::object text{{"type", "string"}};
  const json::object part{{"type", "object"},
                          {"required", json::array{"type", "text"}},
                          {"properties", {{"type", {{"const", "text"}}}, {"text", text}}}};
  const json::object parts{{"type", "array"}, {"items", part}};
  const json::object content{{"anyOf", json::array{text, parts, json::object{{"type", "null"}}}},
                             {"description",
                              "A text, or a list of text parts; null where an assistant or a tool "
                              "says nothing"}};
  const json::object role{{"enum", json::array(std::begin(kRoles), std::end(kRoles))}};
  const json::object message{{"type", "object"},
                             {"required", json::array{"role"}},
                             {"properties", {{"role", role}, {"content", content}}}};
  return {{"type", "array"}, {"minItems", 1}, {"maxItems", kMessagesMax}, {"items", message}};
}

std::shared_ptr<const json::value> read_messages(const json::array& list, JsonReader& reader) {
  if (list.empty() || list.size() > kMessagesMax) {
    reader.fail("messages",
                fmt::format("has {} messages, should have 1 to {}", list.size(), kMessagesMax));
    return nullptr;
  }
  json::array messages;
  for (size_t i = 0; i < list.size() && reader.status().ok(); ++i) {
    const std::string name = fmt::format("messages[{}]", i);
    const json::object* object = list[i].if_object();
    if (object == nullptr) {
      reader.fail(name, "should be an object with role and content");
      break;
    }
    JsonReader inner(*object);
    if (!inner.has("role"))
      inner.fail("role", "is missing, should be one of system, user, assistant, tool",
                 kMissingParameter);
    inner.choice("role", kRoles, 0);
    json::object message = without_nulls(*object);
    // Replaces newer and older names of roles by those that every template knows.
    if (const auto role = inner.optional_text("role"); role == "developer")
      message["role"] = "system";
    else if (role == "function")
      message["role"] = "tool";
    read_content(inner, message);
    use_newer_calls(message);
    if (json::value* calls = message.if_contains("tool_calls")) unfold_arguments(inner, *calls);
    if (const auto status = inner.status(); !status.ok()) {
      const std::string& text = status.error().message();
      reader.fail(name + "." + status.error().field(), text.substr(text.find(": ") + 2),
                  status.error().reason());
    }
    messages.push_back(std::move(message));
  }
  if (!reader.status().ok()) return nullptr;
  return std::make_shared<json::value>(std::move(messages));
}

}  // namespace altlas::server
