#include "server/reference/openapi.h"

#include <boost/json.hpp>

#include "base/strings.h"
#include "config/validate.h"
#include "server/http/route.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

json::object reference(std::string_view schema) {
  return {{"$ref", "#/components/schemas/" + std::string(schema)}};
}

json::object json_content(json::object schema) {
  return {{"application/json", {{"schema", std::move(schema)}}}};
}

std::string_view status_text(int status) {
  switch (status) {
    case 400:
      return "The input is wrong; the message says what would be right";
    case 401:
      return "No key, or a wrong one";
    case 403:
      return "The key's role does not allow it";
    case 404:
      return "Not there";
    case 405:
      return "Another method";
    case 409:
      return "The state does not allow it";
    case 413:
      return "The body is too large";
    case 415:
      return "The body is not JSON";
    case 429:
      return "The queue is full; Retry-After says when to try again";
    case 503:
      return "Starting, draining or nothing healthy";
    default:
      return "Error";
  }
}

json::array parameters_of(const Route& route, const config::Config& now) {
  json::array out;
  for (size_t at = route.pattern.find('{'); at != std::string_view::npos;
       at = route.pattern.find('{', at + 1)) {
    std::string_view name = route.pattern.substr(at + 1, route.pattern.find('}', at) - at - 1);
    if (name.ends_with('*')) name.remove_suffix(1);
    out.push_back({{"name", name},
                   {"in", "path"},
                   {"required", true},
                   {"schema", {{"type", "string"}, {"minLength", 1}}}});
  }
  if (route.query == nullptr) return out;
  for (json::value& parameter : route.query->parameters(now)) {
    json::object& query = parameter.get_object();
    query["in"] = "query";
    query["required"] = false;
    out.push_back(std::move(query));
  }
  return out;
}

// Returns the content of text and bytes: a string, or for an event stream one event.
json::object text_content(std::string_view type) {
  if (type != "text/event-stream") return {{"schema", {{"type", "string"}}}};
  const json::object data{{"data", {{"type", "string"}}}};
  return {{"schema", {{"type", "object"}, {"properties", data}}}};
}

// Returns an id such as "get_api_v1_task_id_stream".
std::string operation_id(std::string_view method, std::string_view pattern) {
  std::string id(method);
  for (const char c : pattern) {
    const bool word = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (word) id += c;
    if (!word && id.back() != '_') id += '_';
  }
  while (id.back() == '_') id.pop_back();
  return lower(id);
}

// Where a value of an answer can be used: as a path parameter of other routes, or as a field of
// their body.
struct Link {
  std::string_view method, pattern;  // The route whose answer has the value.
  std::string_view value;            // A runtime expression (OpenAPI 3.1, section 4.8.20.4).
  std::string_view to_method, to_pattern;
};
constexpr std::string_view kTaskId = "$response.body#/task_id", kId = "$response.body#/id";
constexpr Link kLinks[] = {
    {"POST", "/api/v1/predict", kTaskId, "GET", "/api/v1/task/{id}"},
    {"POST", "/api/v1/predict", kTaskId, "GET", "/api/v1/task/{id}/explain"},
    {"POST", "/api/v1/predict", kTaskId, "GET", "/api/v1/task/{id}/stream"},
    {"POST", "/api/v1/predict", kTaskId, "DELETE", "/api/v1/task/{id}"},
    {"POST", "/v1/files", kId, "GET", "/v1/files/{id}"},
    {"POST", "/v1/files", kId, "GET", "/v1/files/{id}/content"},
    {"POST", "/v1/files", kId, "DELETE", "/v1/files/{id}"},
    {"POST", "/v1/files", kId, "POST", "/v1/batches"},
    {"POST", "/v1/batches", kId, "GET", "/v1/batches/{id}"},
    {"POST", "/v1/batches", kId, "POST", "/v1/batches/{id}/cancel"},
};

json::object links_of(const Route& route) {
  json::object out;
  for (const Link& link : kLinks) {
    if (link.method != route.method || link.pattern != route.pattern) continue;
    const std::string target = operation_id(link.to_method, link.to_pattern);
    json::object one{{"operationId", target}};
    if (link.to_pattern.ends_with("/batches")) {
      one["requestBody"] = {{"input_file_id", link.value}, {"endpoint", "/v1/completions"}};
    } else {
      one["parameters"] = {{"id", link.value}};
    }
    out[target] = std::move(one);
  }
  return out;
}

json::object responses_of(const Route& route, bool with_auth) {
  json::object out;
  json::object ok{{"description", "OK"}};
  json::object content;
  if (!route.response.empty()) content = json_content(reference(route.response));
  if (route.response_type != "application/json" || route.response.empty())
    content[route.response_type] = text_content(route.response_type);
  if (route.pattern.ends_with("completions") || route.pattern == "/chat" ||
      route.pattern == "/infill")
    content["text/event-stream"] = text_content("text/event-stream");
  if (!content.empty()) ok["content"] = std::move(content);
  if (json::object links = links_of(route); !links.empty()) ok["links"] = std::move(links);
  out["200"] = std::move(ok);
  std::vector<int> errors = route.errors;
  if (with_auth && route.access != Access::kOpen) errors.insert(errors.end(), {401, 403});
  for (const int status : errors) {
    // With 503, /health and /ready answer an object of their own.
    const bool own = route.access == Access::kOpen && !route.response.empty();
    const std::string_view schema = own                           ? route.response
                                    : openai_style(route.pattern) ? std::string_view("OpenAiError")
                                                                  : std::string_view("Error");
    out[std::to_string(status)] = {{"description", status_text(status)},
                                   {"content", json_content(reference(schema))}};
  }
  return out;
}

}  // namespace

std::string openapi_json(std::string_view version, const config::Config& now,
                         std::string_view metrics_path) {
  const bool with_auth = config::has_keys(now);
  json::object paths;
  for (const Route& route : routes()) {
    if (route.pattern == kMetricsPattern && metrics_path.empty()) continue;
    json::object operation{{"operationId", operation_id(route.method, route.pattern)},
                           {"summary", route.summary},
                           {"responses", responses_of(route, with_auth)}};
    if (json::array parameters = parameters_of(route, now); !parameters.empty())
      operation["parameters"] = std::move(parameters);
    if (!route.request.empty()) {
      json::object content;
      content[route.request_type] = {{"schema", reference(route.request)}};
      operation["requestBody"] = {{"required", true}, {"content", std::move(content)}};
    }
    if (with_auth && route.access != Access::kOpen) {
      json::array security;
      security.push_back(json::object{{"bearer", json::array()}});
      security.push_back(json::object{{"basic", json::array()}});
      operation["security"] = std::move(security);
    }
    const std::string method = lower(route.method);
    std::string pattern(route.pattern == kMetricsPattern ? metrics_path : route.pattern);
    std::erase(pattern, '*');
    json::value& path = paths[pattern];
    if (path.is_null()) path = json::object();
    path.get_object()[method] = std::move(operation);
  }
  json::object components{{"schemas", openapi_schemas(now)}};
  components["securitySchemes"] = {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}},
                                   {"basic", {{"type", "http"}, {"scheme", "basic"}}}};
  const json::object document{{"openapi", "3.1.0"},
                              {"info", {{"title", "altlas"}, {"version", version}}},
                              {"paths", std::move(paths)},
                              {"components", std::move(components)}};
  return text::json_text(document);
}

}  // namespace altlas::server
