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

// What is wrong goes into `reader`.
ToolRequest read_tools(JsonReader& reader);

}  // namespace altlas::server
