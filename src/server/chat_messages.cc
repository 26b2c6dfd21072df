#include "server/chat_messages.h"

#include <fmt/format.h>

#include <boost/json.hpp>

namespace altlas::server {
namespace json = boost::json;
namespace {

constexpr size_t kMessagesMax = 4096;
constexpr std::string_view kRoles[] = {"system", "user",      "assistant",
                                       "tool",   "developer", "function"};

// Joins the text parts of a content list. False when a part is not text.
bool join_parts(const json::array& parts, std::string& out) {
  for (const json::value& part : parts) {
    const json::object* object = part.if_object();
    const json::value* type = object != nullptr ? object->if_contains("type") : nullptr;
    const json::value* text = object != nullptr ? object->if_contains("text") : nullptr;
    if (type == nullptr || !type->is_string() || type->get_string() != "text" || text == nullptr ||
        !text->is_string())
      return false;
    out += std::string_view(text->get_string());
  }
  return true;
}

// Clients send a call's arguments as a string of JSON; templates want the object, as transformers
// hands it to them.
void unfold_arguments(json::value& calls) {
  if (!calls.is_array()) return;
  for (json::value& call : calls.get_array()) {
    json::value* function = call.is_object() ? call.get_object().if_contains("function") : nullptr;
    if (function == nullptr || !function->is_object()) continue;
    json::value* arguments = function->get_object().if_contains("arguments");
    if (arguments == nullptr || !arguments->is_string()) continue;
    boost::system::error_code code;
    json::value read = json::parse(arguments->get_string(), code);
    if (!code && read.is_object()) *arguments = std::move(read);
  }
}

}  // namespace

std::shared_ptr<const json::value> read_messages(JsonReader& reader) {
  const json::array* list = reader.array("messages");
  if (list == nullptr) reader.fail("messages", "is missing, should be a list of {role, content}");
  if (!reader.status().ok()) return nullptr;
  if (list->empty() || list->size() > kMessagesMax) {
    reader.fail("messages",
                fmt::format("has {} messages, should have 1 to {}", list->size(), kMessagesMax));
    return nullptr;
  }
  json::array messages;
  for (size_t i = 0; i < list->size() && reader.status().ok(); ++i) {
    const std::string name = fmt::format("messages[{}]", i);
    const json::object* object = (*list)[i].if_object();
    if (object == nullptr) {
      reader.fail(name, "should be an object with role and content");
      break;
    }
    JsonReader inner(*object);
    if (!inner.has("role"))
      inner.fail("role", fmt::format("is missing, should be one of system, user, assistant, tool"));
    inner.choice("role", kRoles, 0);
    json::object message = *object;
    // Newer and older names of roles that every template knows.
    if (const auto role = inner.optional_text("role"); role == "developer")
      message["role"] = "system";
    else if (role == "function")
      message["role"] = "tool";
    const json::value* content = inner.value("content");
    if (content != nullptr && content->is_array()) {
      std::string joined;
      if (!join_parts(content->get_array(), joined))
        inner.fail(
            "content",
            "holds a part that is not {\"type\": \"text\", \"text\": …}; only text is taken");
      message["content"] = joined;
    } else if (content != nullptr && !content->is_string()) {
      inner.fail("content", "should be a string or a list of text parts");
    } else if (content == nullptr) {
      if (!inner.has("tool_calls")) inner.fail("content", "is missing, should be a string");
      message["content"] = "";
    }
    if (json::value* calls = message.if_contains("tool_calls")) unfold_arguments(*calls);
    if (const auto status = inner.status(); !status.ok()) {
      const std::string& text = status.error().message();
      reader.fail(name + "." + status.error().field(), text.substr(text.find(": ") + 2));
    }
    messages.push_back(std::move(message));
  }
  if (!reader.status().ok()) return nullptr;
  return std::make_shared<json::value>(std::move(messages));
}

}  // namespace altlas::server
