// `tools`, `tool_choice` and `parallel_tool_calls` of chat requests.
#pragma once

#include <boost/json/fwd.hpp>

#include <memory>
#include <string>
#include <vector>

#include "server/json_reader.h"
#include "server/prompt/grammar_request.h"

namespace altlas::server {

struct ToolRequest {
  // For the chat template; null: none, or tool_choice is "none".
  std::shared_ptr<const boost::json::value> tools;
  std::vector<std::string> names;
  GrammarRequest grammar;  // Where a call is demanded: of its name and its parameters' schema.
  bool one_call = false;   // parallel_tool_calls is false.
  bool named = false;      // tool_choice names the function.
};

boost::json::object tools_schema(const config::Config& now);
boost::json::object tool_choice_schema(const config::Config& now);

inline constexpr BodyField kToolsField{
    .help = "Functions that the model may call", .shared = "Tools", .schema = tools_schema};

struct ToolFields {
  const boost::json::array* tools = nullptr;
  bool parallel_tool_calls = true;
  const boost::json::value* tool_choice = nullptr;

  static constexpr void fields(auto&& field) {
    using S = ToolFields;
    field("tools", &S::tools, kToolsField);
    field("parallel_tool_calls", &S::parallel_tool_calls,
          BodyField{.help = "False: an answer has one call at most"});
    field("tool_choice", &S::tool_choice,
          BodyField{.help = "auto where there are tools", .schema = tool_choice_schema});
  }
};
static_assert(fields_complete<ToolFields>(), "describe every member in fields()");

// What is wrong goes into `reader`.
ToolRequest read_tools(const ToolFields& fields, JsonReader& reader);

}  // namespace altlas::server
