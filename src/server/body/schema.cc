#include "server/body/schema.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

// Returns a schema that also takes null.
json::object nullable(json::object schema) {
  if (json::value* type = schema.if_contains("type"); type != nullptr && type->is_string()) {
    if (type->get_string() != "null") *type = json::array{*type, "null"};
  } else if (json::value* values = schema.if_contains("enum")) {
    values->get_array().emplace_back(nullptr);
  } else if (json::value* any = schema.if_contains("anyOf")) {
    any->get_array().push_back(json::object{{"type", "null"}});
  }
  return schema;
}

}  // namespace

json::array BodySchemas::names_json(std::span<const EnumName> names) {
  json::array out;
  for (const EnumName& row : names) out.emplace_back(row.name);
  return out;
}

json::object BodySchemas::other_name(const json::object& properties, std::string_view name) {
  json::object out = properties.at(name).get_object();
  out.erase("default");
  out["description"] = fmt::format("Another name of {}", name);
  return out;
}

json::object BodySchemas::finish(json::object schema, const BodyField& info) {
  if (!info.shared.empty()) {
    all_.emplace(info.shared, std::move(schema));
    json::object reference{{"$ref", fmt::format("#/components/schemas/{}", info.shared)}};
    if (info.needed.empty())
      schema = {{"anyOf", json::array{std::move(reference)}}};
    else
      schema = std::move(reference);
  }
  if (info.needed.empty()) schema = nullable(std::move(schema));
  if (!info.help.empty()) schema["description"] = info.help;
  return schema;
}

json::object BodySchemas::value_schema(bool example, const BodyField& info) {
  json::object out{{"type", "boolean"}};
  if (info.needed.empty()) out["default"] = example;
  return out;
}

json::object BodySchemas::value_schema(const std::optional<bool>&, const BodyField&) {
  return {{"type", "boolean"}};
}

json::object BodySchemas::value_schema(const std::string& example, const BodyField& info) {
  json::object out = value_schema(std::optional<std::string>(), info);
  if (!example.empty()) out["default"] = example;
  return out;
}

json::object BodySchemas::value_schema(const std::optional<std::string>&, const BodyField& info) {
  if (!info.choices.empty())
    return {{"enum", json::array(info.choices.begin(), info.choices.end())}};
  json::object out{{"type", "string"}};
  if (!std::isinf(info.min)) out["minLength"] = static_cast<int64_t>(info.min);
  if (!std::isinf(info.max)) out["maxLength"] = static_cast<int64_t>(info.max);
  if (!info.pattern.empty()) out["pattern"] = info.pattern;
  return out;
}

json::object BodySchemas::value_schema(const std::vector<std::string>&, const BodyField& info) {
  // A character has at least one byte, so the limit in bytes also holds for characters.
  const json::object one{
      {"type", "string"}, {"minLength", 1}, {"maxLength", static_cast<int64_t>(info.max)}};
  const json::object list{{"type", "array"}, {"maxItems", info.items_max}, {"items", one}};
  return {{"anyOf", json::array{one, list}}};
}

json::object BodySchemas::value_schema(const std::optional<Priority>&, const BodyField& info) {
  json::object names{{"enum", names_json(kPriorityNames)}};
  if (!info.levels) return names;
  const json::object level{{"type", "integer"}, {"minimum", INT32_MIN}, {"maximum", INT32_MAX}};
  return {{"anyOf", json::array{std::move(names), level}}};
}

json::object BodySchemas::value_schema(const std::optional<DeviceId>&, const BodyField&) {
  const json::object number{{"type", "integer"}, {"minimum", 0}, {"maximum", INT32_MAX}};
  const json::object name{{"type", "string"}, {"pattern", "^(gpu_)?[0-9]{1,5}$"}};
  return {{"anyOf", json::array{number, name}}};
}

json::object BodySchemas::value_schema(const std::optional<TaskStatus>&, const BodyField&) {
  return {{"$ref", "#/components/schemas/Status"}};
}

json::object BodySchemas::value_schema(const TokensMax& example, const BodyField& info) {
  json::object out{{"type", "integer"}, {"minimum", -2}, {"maximum", INT32_MAX}};
  if (info.min > 0) {
    out["minimum"] = static_cast<int64_t>(info.min);
    const json::object left{{"enum", json::array{-1, -2}}};
    out = {{"anyOf", json::array{std::move(out), left}}};
  }
  if (example.tokens) out["default"] = *example.tokens;
  return out;
}

json::object BodySchemas::value_schema(const Refused&, const BodyField&) {
  return {{"type", "null"}};
}

json::object BodySchemas::value_schema(const std::optional<Strategy>&, const BodyField&) const {
  json::array names;
  for (const Strategy strategy : now_.gpu.multi_gpu.strategies)
    names.emplace_back(to_string(strategy));
  return {{"enum", std::move(names)}};
}

json::object BodySchemas::value_schema(const json::value*, const BodyField& info) const {
  return info.schema != nullptr ? info.schema(now_) : json::object();
}

json::object BodySchemas::value_schema(const json::array*, const BodyField& info) const {
  return info.schema != nullptr ? info.schema(now_) : json::object{{"type", "array"}};
}

json::object BodySchemas::value_schema(const json::object*, const BodyField& info) const {
  return info.schema != nullptr ? info.schema(now_) : json::object{{"type", "object"}};
}

}  // namespace altlas::server
