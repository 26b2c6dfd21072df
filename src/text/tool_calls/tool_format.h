// ToolFormat: how a family of models writes calls.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "config/names.h"

namespace altlas::text {

enum class ToolFormat : uint8_t {
  kHermes,    // <tool_call>{"name": …, "arguments": {…}}</tool_call>: Hermes, Qwen.
  kLlama,     // {"name": …, "parameters": {…}}, perhaps after <|python_tag|>.
  kMistral,   // [TOOL_CALLS][{"name": …, "arguments": {…}}], or [TOOL_CALLS]name[ARGS]{…}.
  kDeepSeek,  // function, a separator, the name, and a ```json block; or name, separator, {…}.
  kPhi,       // <|tool_call|>[…]<|/tool_call|>.
  kPythonic,  // [name(argument="value")]: Gemma, Llama 4.
};

// By what the template that shows calls to the model says.
ToolFormat tool_format_of(std::string_view chat_template);
// As the setting says; kAuto: `detected`.
ToolFormat tool_format_of(ToolCallParser parser, ToolFormat detected);

// What calls stand between.
struct ToolTags {
  std::string_view begin;
  std::string_view end;  // Empty: the end of the text.
};
ToolTags tags_of(ToolFormat format);
// All that stands around calls and within them, as far as it may be control tokens.
std::vector<std::string_view> marks_of(ToolFormat format);
// Whether an answer without tags that begins with `text` may be calls; nothing: a longer begin will
// tell. `text`: not empty.
std::optional<bool> may_be_whole_call(ToolFormat format, std::string_view text);

}  // namespace altlas::text
