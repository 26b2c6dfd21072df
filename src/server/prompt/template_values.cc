#include "server/prompt/template_values.h"

#include <boost/json.hpp>
#include <string>
#include <string_view>

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr std::string_view kRoles[] = {"system", "user", "assistant", "tool"};
constexpr std::string_view kFirst = "zqpartone", kSecond = "zqparttwo";

uint8_t bit_of(std::string_view role) {
  for (size_t i = 0; i < std::size(kRoles); ++i)
    if (kRoles[i] == role) return static_cast<uint8_t>(1u << i);
  return 0;
}

json::object text_part(std::string_view text) { return {{"type", "text"}, {"text", text}}; }

// Returns a conversation in which a message of the role says `content`.
json::array conversation(std::string_view role, json::value content) {
  const json::object hello{{"role", "user"}, {"content", "hello"}};
  json::object message{{"role", role}, {"content", std::move(content)}};
  if (role == "system") return {message, hello};
  if (role == "user") return {message};
  if (role == "assistant") return {hello, message, hello};
  const json::object function{{"name", "f"}, {"arguments", json::object()}};
  const json::object call{{"id", "abcdefghi"}, {"type", "function"}, {"function", function}};
  message["tool_call_id"] = "abcdefghi";
  message["name"] = "f";
  return {hello,
          {{"role", "assistant"}, {"content", ""}, {"tool_calls", json::array{call}}},
          message};
}

// Returns what the template renders, or "" if it refuses.
std::string rendered(const text::ChatTemplate& chat_template, std::string_view role,
                     json::value content) {
  text::ChatInput input;
  input.messages = to_messages(conversation(role, std::move(content)));
  input.bos_token = "<s>";
  input.eos_token = "</s>";
  const auto out = chat_template.render(input);
  return out.ok() ? *out : std::string();
}

bool shows(std::string_view text, std::string_view needle) {
  const size_t at = text.find(needle);
  if (at == std::string_view::npos || at == 0) return at == 0;
  // If it is in quotes, the template printed a list.
  const char before = text[at - 1];
  return before != '\'' && before != '"';
}

std::string join(const json::array& parts) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i)
    out += (i > 0 ? "\n" : "") + std::string(parts[i].get_object().at("text").get_string());
  return out;
}

}  // namespace

text::Value to_value(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return {};
    case json::kind::bool_:
      return value.get_bool();
    case json::kind::int64:
      return value.get_int64();
    case json::kind::uint64:
      return static_cast<double>(value.get_uint64());
    case json::kind::double_:
      return value.get_double();
    case json::kind::string:
      return std::string(value.get_string());
    case json::kind::array: {
      std::vector<text::Value> items;
      for (const json::value& item : value.get_array()) items.push_back(to_value(item));
      return text::Value::list(std::move(items));
    }
    case json::kind::object: {
      std::vector<text::Value::Entry> entries;
      for (const auto& [key, item] : value.get_object())
        entries.emplace_back(text::Value(std::string(key)), to_value(item));
      return text::Value::object(std::move(entries));
    }
  }
  return {};
}

// Roles were checked against a list, so they count as the template's own text: templates compare
// and print them.
text::Value to_messages(const json::value& messages) {
  std::vector<text::Value> items;
  for (const json::value& message : messages.get_array()) {
    std::vector<text::Value::Entry> entries;
    for (const auto& [key, item] : message.get_object()) {
      const bool is_role = key == "role" && item.is_string();
      entries.emplace_back(
          text::Value::trusted(std::string(key)),
          is_role ? text::Value::trusted(std::string(item.get_string())) : to_value(item));
    }
    items.push_back(text::Value::object(std::move(entries)));
  }
  return text::Value::list(std::move(items));
}

PartRoles part_roles_of(const text::ChatTemplate& chat_template) {
  PartRoles out;
  for (const std::string_view role : kRoles) {
    const json::array parts{text_part(kFirst), text_part(kSecond)};
    const std::string walked = rendered(chat_template, role, parts);
    if (!shows(walked, kFirst) || !shows(walked, kSecond)) continue;
    out.walked |= bit_of(role);
    if (!rendered(chat_template, role, json::value(kFirst)).contains(kFirst))
      out.alone |= bit_of(role);
  }
  return out;
}

void fit_parts(json::value& messages, const PartRoles& roles) {
  for (json::value& message : messages.get_array()) {
    json::object& object = message.get_object();
    json::value& content = object["content"];
    const uint8_t role = bit_of(object.at("role").get_string());
    if (content.is_array() && (roles.walked & role) == 0)
      content = json::string(join(content.get_array()));
    else if (content.is_string() && (roles.alone & role) != 0)
      content = json::array{text_part(content.get_string())};
  }
}

}  // namespace altlas::server
