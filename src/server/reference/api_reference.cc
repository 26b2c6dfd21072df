#include "server/reference/api_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "server/http/route.h"
#include "server/reference/openapi.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr std::string_view kHead = R"(# HTTP API

Generated from the route table, the rows of request bodies and the schemas of answers; do not
edit. `GET /openapi.json` on a running server is the same as OpenAPI 3.1; limits that are settings
stand there as they are set, here by default.

Keys go in `Authorization: Bearer KEY`, or as the password of Basic. Once any key is configured
every route needs one, except those marked *open*; *admin* routes need a key of that role. Errors
are `{"error": "what was wrong and what would be right"}`, on `/v1/*` OpenAI's error object, whose
`code` is a word for programs: `context_length_exceeded`, `model_not_found`, `unknown_url`,
`invalid_json`, `unsupported_encoding`, `missing_required_parameter`, `invalid_type`,
`invalid_value`, or one by status such as `invalid_api_key`; `param` names the field. Bodies
are UTF-8, a byte order mark before one is skipped. Fields that a route does not know are ignored,
`null` means absent. An answer has `X-Request-Id`, the request's own where it sent one.
)";

struct Group {
  std::string_view title;
  std::string_view prefix;
};
constexpr Group kGroups[] = {
    {"Tasks, devices, deployments, configuration", "/api/v1/"},
    {"OpenAI's routes", "/v1/"},
    {"Other routes", "/"},
};

std::string name_of(const json::object& schema) {
  const std::string text(schema.at("$ref").get_string());
  return text.substr(text.rfind('/') + 1);
}

std::string type_text(const json::object& schema);

std::string joined(const json::array& parts) {
  std::string out;
  for (const json::value& part : parts) {
    const std::string one = type_text(part.get_object());
    if (!one.empty()) out += (out.empty() ? "" : " or ") + one;
  }
  return out;
}

std::string list_of(const json::array& values) {
  std::string out;
  for (const json::value& value : values)
    if (!value.is_null()) out += (out.empty() ? "" : ", ") + text::json_text(value);
  return out;
}

// Returns a type such as "integer", "list of string" or "one of "a", "b"". null is left out, since
// every field may be null.
std::string type_text(const json::object& schema) {
  if (schema.contains("$ref")) return name_of(schema);
  if (const auto* any = schema.if_contains("anyOf"); any && !schema.contains("properties"))
    return joined(any->get_array());
  if (const auto* values = schema.if_contains("enum"))
    return "one of " + list_of(values->get_array());
  if (const auto* value = schema.if_contains("const")) return text::json_text(*value);
  const json::value* type = schema.if_contains("type");
  if (type == nullptr) return "any value";
  if (*type == "null") return "";
  std::string name(type->is_string() ? type->get_string() : "");
  if (type->is_array())
    for (const json::value& one : type->get_array())
      if (one.get_string() != "null")
        name += (name.empty() ? "" : " or ") + std::string(one.get_string());
  if (const auto* items = schema.if_contains("items"); items != nullptr && name == "array")
    return "list of " + type_text(items->get_object());
  return name == "array" ? "list" : name;
}

// Returns the number as people write it: 0.7, not 7E-1.
std::string value_text(const json::value& value) {
  return value.is_double() ? fmt::format("{}", value.get_double()) : text::json_text(value);
}

std::string limits_text(const json::object& schema) {
  std::string out;
  const auto add = [&](const char* key, std::string_view words) {
    const json::value* value = schema.if_contains(key);
    // The largest and the least integer are no limits that anybody meets.
    if (value != nullptr && *value != INT64_MAX && *value != INT64_MIN)
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", words, value_text(*value));
  };
  add("minimum", "at least");
  add("maximum", "at most");
  add("minLength", "characters: at least");
  add("maxLength", "characters: at most");
  add("minItems", "items: at least");
  add("maxItems", "items: at most");
  add("default", "default");
  if (const auto* text = schema.if_contains("description"))
    out += (out.empty() ? "" : "; ") + std::string(text->get_string());
  return out;
}

bool requires_field(const json::object& schema, std::string_view field) {
  const json::value* required = schema.if_contains("required");
  if (required == nullptr) return false;
  for (const json::value& one : required->get_array())
    if (one.get_string() == field) return true;
  return false;
}

// Adds the rows of an object's fields; for allOf, those of each part.
void add_rows(const json::object& schemas, const json::object& schema, std::string& out) {
  if (schema.contains("$ref"))
    return add_rows(schemas, schemas.at(name_of(schema)).get_object(), out);
  if (const auto* parts = schema.if_contains("allOf"))
    for (const json::value& part : parts->get_array()) add_rows(schemas, part.get_object(), out);
  const json::value* fields = schema.if_contains("properties");
  if (fields == nullptr) return;
  for (const auto& [name, field] : fields->get_object()) {
    const json::object& one = field.get_object();
    std::string type = type_text(one);
    for (size_t at = 0; (at = type.find('|', at)) != std::string::npos; at += 2)
      type.insert(at, "\\");
    out += fmt::format("| `{}`{} | {} | {} |\n", std::string_view(name),
                       requires_field(schema, name) ? " (needed)" : "", type, limits_text(one));
  }
}

std::string table(const json::object& schemas, std::string_view name) {
  std::string rows;
  add_rows(schemas, schemas.at(name).get_object(), rows);
  if (rows.empty()) return "";
  return "| field | type | limits |\n|---|---|---|\n" + rows;
}

std::string_view access_text(Access access) {
  switch (access) {
    case Access::kOpen:
      return "open";
    case Access::kMetrics:
      return "any role";
    case Access::kUser:
      return "user";
    case Access::kAdmin:
      return "admin";
  }
  return "";
}

std::string route_text(const json::object& schemas, const Route& route) {
  std::string path(route.pattern);
  std::erase(path, '*');
  std::string out = fmt::format("\n### `{} {}`\n\n{}. Access: {}.", route.method, path,
                                route.summary, access_text(route.access));
  if (!route.errors.empty()) {
    out += " Statuses beside 200:";
    for (const int status : route.errors) out += fmt::format(" {}", status);
    out += ".";
  }
  out += "\n";
  if (route.query != nullptr) {
    out += "\n| query | type | limits |\n|---|---|---|\n";
    for (const json::value& one : route.query->parameters(config::Config())) {
      json::object schema = one.at("schema").get_object();
      schema["description"] = one.at("description");
      out += fmt::format("| `{}` | {} | {} |\n", std::string_view(one.at("name").get_string()),
                         type_text(schema), limits_text(schema));
    }
  }
  if (!route.request.empty())
    out += fmt::format("\nRequest {} ({}):\n\n{}", route.request, route.request_type,
                       table(schemas, route.request));
  if (!route.response.empty())
    out += fmt::format("\nAnswer {}:\n\n{}", route.response, table(schemas, route.response));
  if (route.response_type != "application/json")
    out += fmt::format("\nAnswer: {}.\n", route.response_type);
  return out;
}

bool is_body_of_a_route(std::string_view name) {
  const auto takes = [&](const Route& route) { return route.request == name; };
  return std::ranges::any_of(routes(), takes);
}

// Returns the objects inside others that more than one table names.
std::string shared_text(const json::object& schemas, const json::object& requests) {
  std::vector<std::string_view> names;
  for (const auto& [name, schema] : requests)
    if (!is_body_of_a_route(name)) names.emplace_back(name);
  names.insert(names.end(), {"Status", "BatchStatus", "HealthStatus", "Usage"});
  std::string out = "\n## Shared objects\n";
  for (const std::string_view name : names) {
    const json::object& schema = schemas.at(name).get_object();
    out += fmt::format("\n### {}\n\n", name);
    const std::string rows = table(schemas, name);
    if (!rows.empty()) {
      out += rows;
      continue;
    }
    const std::string limits = limits_text(schema);
    out += type_text(schema) + (limits.empty() ? "" : "; " + limits) + ".\n";
    if (const auto* items = schema.if_contains("items")) {
      std::string inner;
      add_rows(schemas, items->get_object(), inner);
      out += "\n| field | type | limits |\n|---|---|---|\n" + inner;
    }
  }
  return out;
}

}  // namespace

std::string api_markdown() {
  const config::Config defaults;
  const json::object schemas = openapi_schemas(defaults);
  std::string out(kHead);
  for (const Group& group : kGroups) {
    out += fmt::format("\n## {}\n", group.title);
    for (const Route& route : routes()) {
      const Group* first = std::begin(kGroups);
      while (!route.pattern.starts_with(first->prefix)) ++first;
      if (first->title == group.title) out += route_text(schemas, route);
    }
  }
  return out + shared_text(schemas, request_schemas(defaults));
}

}  // namespace altlas::server
