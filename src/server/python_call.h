// Calls written as Python: [name(argument="value", other=1)].
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "server/tool_calls.h"

namespace altlas::server {

// One call, or a list of them; arguments are named literals. Nothing if `text` is anything else.
std::optional<std::vector<ToolCall>> python_calls(std::string_view text);

}  // namespace altlas::server
