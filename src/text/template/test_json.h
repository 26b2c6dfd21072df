// JSON as template values, and renderings, for this room's tests.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "text/template/chat_template.h"
#include "text/template/value.h"

namespace altlas::text::testing_support {

// Aborts on bad JSON. Strings become content.
Value value_of_json(std::string_view json);

// Member `name` of an object, null if absent.
Value member(const Value& object, std::string_view name);

// From {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "extra"}.
ChatInput chat_input(const Value& input);

// A message from a user who writes a control token.
ChatInput hi();
// Compiles and renders.
Result<std::string> render(const std::string& source, const ChatInput& input,
                           TemplateLimits limits = {});
std::string qwen_template();

}  // namespace altlas::text::testing_support
