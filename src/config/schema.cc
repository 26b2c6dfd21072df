#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "config/document.h"
#include "config/reference.h"
#include "config/value.h"

namespace altlas::config {
namespace {

// Writes a JSON object member by member.
class Object {
 public:
  void add(std::string_view name, const std::string& json) {
    body_ += fmt::format("{}{}: {}", body_.empty() ? "" : ", ", json_quote(name), json);
  }
  std::string take() { return "{" + std::move(body_) + "}"; }

 private:
  std::string body_;
};

// Sections that stand in lists are described once, in $defs; `definitions` collects them.
std::string schema_of(const Type& type, const FieldInfo& info,
                      std::map<const Type*, std::string>& definitions);

std::string number_schema(const Type& type, const FieldInfo& info) {
  Object out;
  const bool integer = type.kind == Type::Kind::kInt;
  if (info.form == Form::kBytes) {
    out.add("type", "[\"integer\", \"string\"]");
    out.add("pattern", json_quote("^[0-9.]+ *([KMGT](i?B)?|B)?$"));
  } else if (info.form == Form::kDevices) {
    out.add("type", "[\"integer\", \"string\"]");
    out.add("pattern", json_quote("^(gpu_)?[0-9]+$"));
  } else {
    out.add("type", integer ? "\"integer\"" : "\"number\"");
  }
  if (std::isfinite(info.min)) out.add("minimum", fmt::format("{}", info.min));
  if (std::isfinite(info.max)) out.add("maximum", fmt::format("{}", info.max));
  return out.take();
}

std::string names_schema(std::span<const EnumName> names) {
  std::string list;
  for (const EnumName& row : names) list += (list.empty() ? "" : ", ") + json_quote(row.name);
  return "{\"enum\": [" + list + "]}";
}

std::string text_schema(const FieldInfo& info) {
  if (info.form == Form::kJson) return "{}";
  if (info.choices.empty()) return "{\"type\": \"string\"}";
  std::string list;
  for (const std::string_view choice : info.choices)
    list += (list.empty() ? "" : ", ") + json_quote(choice);
  return "{\"enum\": [" + list + "]}";
}

std::string map_schema(const std::string& element) {
  return "{\"type\": \"object\", \"additionalProperties\": " + element + "}";
}

std::string list_schema(const Type& type, const FieldInfo& info,
                        std::map<const Type*, std::string>& definitions) {
  std::string element = schema_of(*type.element, info, definitions);
  if (type.element->kind == Type::Kind::kSection) {
    const std::string name = fmt::format("section{}", definitions.size());
    const auto found =
        definitions.try_emplace(type.element, fmt::format("{}: {}", json_quote(name), element))
            .first;
    const std::string_view key = found->second;
    element = "{\"$ref\": \"#/$defs/" + std::string(key.substr(1, key.find('"', 1) - 1)) + "\"}";
  }
  const std::string list = "{\"type\": \"array\", \"items\": " + element + "}";
  std::string other;
  if (info.one_or_list) other = element;
  if (!info.key.empty()) other = map_schema(element);
  if (info.form == Form::kPriorities) other = map_schema("{\"type\": \"integer\"}");
  return other.empty() ? list : "{\"anyOf\": [" + list + ", " + other + "]}";
}

std::string section_schema(const Type& type, std::map<const Type*, std::string>& definitions) {
  // `x-not-yet` says that nothing reads the setting or what stands in it, and what to do instead;
  // `x-reload` says that SIGHUP can change it.
  Object properties;
  for (const Member& member : type.members) {
    Object property;
    property.add("description", json_quote(member.info.help));
    if (member.type->kind != Type::Kind::kSection && !member.info.secret) {
      property.add("default", encode(*member.type, member.info, member.in(type.fresh)));
    }
    if (member.info.reload) property.add("x-reload", "true");
    if (!member.info.not_yet.empty()) property.add("x-not-yet", json_quote(member.info.not_yet));
    property.add("anyOf", "[" + schema_of(*member.type, member.info, definitions) +
                              ", {\"type\": \"null\"}]");
    if (member.info.old_name.empty()) {
      properties.add(member.name, property.take());
      continue;
    }
    Object old = property;
    old.add("deprecated", "true");
    properties.add(member.name, property.take());
    properties.add(member.info.old_name, old.take());
  }
  return "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": " +
         properties.take() + "}";
}

std::string schema_of(const Type& type, const FieldInfo& info,
                      std::map<const Type*, std::string>& definitions) {
  switch (type.kind) {
    case Type::Kind::kBool:
      return "{\"type\": \"boolean\"}";
    case Type::Kind::kInt:
    case Type::Kind::kReal:
      return number_schema(type, info);
    case Type::Kind::kEnum:
      return names_schema(type.names);
    case Type::Kind::kOptional:
      return schema_of(*type.element, info, definitions);
    case Type::Kind::kMap:
      return map_schema(schema_of(*type.element, info, definitions));
    case Type::Kind::kList:
      return list_schema(type, info, definitions);
    case Type::Kind::kSection:
      return section_schema(type, definitions);
    case Type::Kind::kText:
      break;
  }
  return text_schema(info);
}

// Returns the same JSON with one line per member or item.
std::string indented(std::string_view json) {
  std::string out;
  size_t depth = 0;
  bool text = false;
  const auto line = [&out, &depth] { out += "\n" + std::string(2 * depth, ' '); };
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (text) {
      out += c;
      if (c == '\\')
        out += json[++i];
      else if (c == '"')
        text = false;
    } else if (c == '{' || c == '[') {
      out += c;
      ++depth;
      if (json[i + 1] != '}' && json[i + 1] != ']') line();
    } else if (c == '}' || c == ']') {
      --depth;
      if (json[i - 1] != '{' && json[i - 1] != '[') line();
      out += c;
    } else if (c == ',') {
      out += c;
      line();
      if (json[i + 1] == ' ') ++i;
    } else {
      out += c;
      text = c == '"';
    }
  }
  return out + "\n";
}

}  // namespace

std::string json_schema() {
  std::map<const Type*, std::string> definitions;
  std::string body = section_schema(config_type(), definitions);
  std::vector<std::string> texts;
  for (auto& [type, text] : definitions) texts.push_back(text);
  // Sorted by text: the order of addresses differs from run to run.
  std::ranges::sort(texts);
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + text;
  body.insert(body.size() - 1, ", \"$defs\": {" + list + "}");
  body.insert(1,
              "\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"title\": \"altlas "
              "configuration\", ");
  return indented(body);
}

}  // namespace altlas::config
