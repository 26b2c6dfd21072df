#include "server/tool_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr size_t kToolsMax = 128;
constexpr size_t kToolNameBytesMax = 128;
constexpr size_t kForcedCallsMax = 16;

bool is_name(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':' || c == '/';
  };
  return !name.empty() && name.size() <= kToolNameBytesMax && std::ranges::all_of(name, fits);
}

// A schema's references start at its own root, which now stands at `prefix`.
void move_references(json::value& value, const std::string& prefix) {
  if (value.is_array())
    for (json::value& one : value.get_array()) move_references(one, prefix);
  if (!value.is_object()) return;
  for (auto& entry : value.get_object()) {
    json::value& inner = entry.value();
    if (entry.key() == "$ref" && inner.is_string() && inner.get_string().starts_with("#"))
      inner = "#" + prefix + std::string(inner.get_string().subview(1));
    else
      move_references(inner, prefix);
  }
}

// {"name": …, "arguments": …} of one function; `place`: where it will stand.
json::object call_schema(const json::object& function, const std::string& place) {
  const json::value* parameters = function.if_contains("parameters");
  json::value arguments =
      parameters != nullptr && parameters->is_object() ? *parameters : json::value(json::object());
  move_references(arguments, place + "/properties/arguments");
  if (!arguments.get_object().contains("type")) arguments.get_object()["type"] = "object";
  return {{"type", "object"},
          {"properties",
           {{"name", {{"const", function.at("name")}}}, {"arguments", std::move(arguments)}}},
          {"required", {"name", "arguments"}},
          {"additionalProperties", false}};
}

// One of the functions, or a list of calls of them.
json::object calls_schema(const json::array& tools, bool one_call) {
  json::array choices;
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string place = fmt::format("{}/anyOf/{}", one_call ? "" : "/items", i);
    choices.push_back(call_schema(tools[i].at("function").get_object(), place));
  }
  json::object any{{"anyOf", std::move(choices)}};
  if (one_call) return any;
  return {{"type", "array"}, {"minItems", 1}, {"maxItems", kForcedCallsMax}, {"items", any}};
}

// The checked list; empty after an error.
json::array read_list(JsonReader& reader, std::vector<std::string>& names) {
  const json::array* list = reader.array("tools");
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

}  // namespace

ToolRequest read_tools(JsonReader& reader) {
  ToolRequest out;
  const json::array list = read_list(reader, out.names);
  out.one_call = !reader.boolean("parallel_tool_calls", true);
  const json::value* choice = reader.value("tool_choice");
  if (!reader.status().ok()) return out;
  std::string demanded = "auto";
  std::string function;
  if (choice != nullptr && choice->is_string()) {
    static constexpr std::string_view kChoices[] = {"none", "auto", "required"};
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
  json::array among = list;
  if (demanded == "function") {
    const auto found = std::ranges::find(out.names, function);
    if (found == out.names.end()) {
      reader.fail("tool_choice", fmt::format("names '{}', which is not among the tools",
                                             function.substr(0, kToolNameBytesMax)));
      return out;
    }
    out.named = true;
    among = {list[static_cast<size_t>(found - out.names.begin())]};
  }
  const bool one = out.one_call || demanded == "function";
  out.grammar.grammar = {GrammarKind::kJsonSchema, json::serialize(calls_schema(among, one))};
  return out;
}

}  // namespace altlas::server
