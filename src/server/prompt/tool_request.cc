#include "server/prompt/tool_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <numeric>

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr size_t kToolsMax = 1'024;
constexpr size_t kToolNameBytesMax = 128;
constexpr size_t kForcedCallsMax = 16;

bool is_name(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':' || c == '/';
  };
  return !name.empty() && name.size() <= kToolNameBytesMax && std::ranges::all_of(name, fits);
}

// Returns the schema of {"name": …, "arguments": …} for one function. The parameters keep their
// references: they stay a resource of their own, by their $id or one that is made up.
json::object call_schema(const json::object& function, size_t index) {
  const json::value* parameters = function.if_contains("parameters");
  json::object arguments =
      parameters != nullptr && parameters->is_object() ? parameters->get_object() : json::object();
  const json::value* id = arguments.if_contains("$id");
  if (id == nullptr || !id->is_string() || id->get_string().starts_with("#"))
    arguments["$id"] = fmt::format("altlas:tool:{}", index);
  if (!arguments.contains("type")) arguments["type"] = "object";
  return {{"type", "object"},
          {"properties",
           {{"name", {{"const", function.at("name")}}}, {"arguments", std::move(arguments)}}},
          {"required", {"name", "arguments"}},
          {"additionalProperties", false}};
}

// Returns the schema of one call of the functions, or of a list of calls. `parts` tells where each
// function's parameters are in it; `indices` are the functions' places in `tools`.
json::object calls_schema(const json::array& tools, const std::vector<size_t>& indices,
                          bool one_call, std::vector<GrammarPart>& parts) {
  json::array choices;
  for (const size_t index : indices) {
    const json::object& function = tools[index].at("function").get_object();
    const json::value* strict = function.if_contains("strict");
    parts.push_back({fmt::format("{}/anyOf/{}/properties/arguments", one_call ? "" : "/items",
                                 choices.size()),
                     fmt::format("tools[{}].function.parameters", index),
                     strict != nullptr && strict->is_bool() && strict->get_bool()});
    choices.push_back(call_schema(function, index));
  }
  json::object any{{"anyOf", std::move(choices)}};
  if (one_call) return any;
  return {{"type", "array"}, {"minItems", 1}, {"maxItems", kForcedCallsMax}, {"items", any}};
}

// Returns the checked list, or an empty one after an error.
json::array read_list(const json::array* list, JsonReader& reader,
                      std::vector<std::string>& names) {
  if (list == nullptr) return {};
  if (list->size() > kToolsMax) {
    reader.fail("tools",
                fmt::format("has {} tools, at most {} are taken", list->size(), kToolsMax));
    return {};
  }
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string name = fmt::format("tools[{}]", i);
    const json::object* tool = (*list)[i].if_object();
    const json::value* function = tool != nullptr ? tool->if_contains("function") : nullptr;
    const json::value* called = function != nullptr && function->is_object()
                                    ? function->get_object().if_contains("name")
                                    : nullptr;
    if (called == nullptr || !called->is_string()) {
      reader.fail(name, "should be {\"type\": \"function\", \"function\": {\"name\": …}}");
      return {};
    }
    if (!is_name(called->get_string())) {
      reader.fail(name + ".function.name",
                  fmt::format("should have 1 to {} of the characters a-z A-Z 0-9 _ - . : /",
                              kToolNameBytesMax));
      return {};
    }
    const json::value* parameters = function->get_object().if_contains("parameters");
    if (parameters != nullptr && !parameters->is_object() && !parameters->is_null()) {
      reader.fail(name + ".function.parameters", "should be a JSON schema: an object");
      return {};
    }
    names.emplace_back(called->get_string());
  }
  return *list;
}

constexpr std::string_view kChoices[] = {"none", "auto", "required"};

}  // namespace

json::object tools_schema(const config::Config&) {
  const json::object name{{"type", "string"},
                          {"pattern", fmt::format("^[A-Za-z0-9_.:/-]{{1,{}}}$", kToolNameBytesMax)}};
  const json::object function{
      {"type", "object"},
      {"required", json::array{"name"}},
      {"properties",
       {{"name", name},
        {"description", {{"type", {"string", "null"}}}},
        {"parameters", {{"type", {"object", "null"}}, {"description", "A JSON schema"}}},
        {"strict",
         {{"type", {"boolean", "null"}},
          {"description", "A schema that can't be held is refused"}}}}}};
  const json::object tool{{"type", "object"},
                          {"required", json::array{"type", "function"}},
                          {"properties", {{"type", {{"const", "function"}}}, {"function", function}}}};
  return {{"type", "array"}, {"maxItems", kToolsMax}, {"items", tool}};
}

json::object tool_choice_schema(const config::Config&) {
  const json::object names{{"enum", json::array(std::begin(kChoices), std::end(kChoices))}};
  const json::object named{{"type", "object"}, {"properties", {{"name", {{"type", "string"}}}}}};
  const json::object function{{"type", "object"},
                              {"required", json::array{"function"}},
                              {"properties", {{"function", named}}}};
  return {{"anyOf", json::array{names, function}}};
}

ToolRequest read_tools(const ToolFields& fields, JsonReader& reader) {
  ToolRequest out;
  const json::array list = read_list(fields.tools, reader, out.names);
  out.one_call = !fields.parallel_tool_calls;
  const json::value* choice = fields.tool_choice;
  if (!reader.status().ok()) return out;
  std::string demanded = "auto";
  std::string function;
  if (choice != nullptr && choice->is_string()) {
    demanded = kChoices[reader.choice("tool_choice", kChoices, 1)];
  } else if (choice != nullptr) {
    const json::object* object = choice->if_object();
    const json::value* inner = object != nullptr ? object->if_contains("function") : nullptr;
    const json::value* name =
        inner != nullptr && inner->is_object() ? inner->get_object().if_contains("name") : nullptr;
    if (name == nullptr || !name->is_string()) {
      reader.fail("tool_choice",
                  "should be none, auto, required, or {\"type\": \"function\", "
                  "\"function\": {\"name\": …}}");
      return out;
    }
    demanded = "function";
    function = std::string(name->get_string());
  }
  if (!reader.status().ok()) return out;
  if (list.empty()) {
    if (demanded == "required" || demanded == "function")
      reader.fail("tool_choice", "demands a call, but there are no tools");
    return out;
  }
  if (demanded == "none") {
    out.names.clear();
    return out;
  }
  out.tools = std::make_shared<json::value>(list);
  if (demanded == "auto") return out;
  out.grammar.field = "tools";
  std::vector<size_t> among(list.size());
  std::iota(among.begin(), among.end(), size_t{0});
  if (demanded == "function") {
    const auto found = std::ranges::find(out.names, function);
    if (found == out.names.end()) {
      reader.fail("tool_choice", fmt::format("names '{}', which is not among the tools",
                                             function.substr(0, kToolNameBytesMax)));
      return out;
    }
    out.named = true;
    among = {static_cast<size_t>(found - out.names.begin())};
  }
  const bool one = out.one_call || demanded == "function";
  const json::object schema = calls_schema(list, among, one, out.grammar.parts);
  out.grammar.grammar = {GrammarKind::kJsonSchema, json::serialize(schema)};
  return out;
}

}  // namespace altlas::server
