// Ids of tool calls, in the form that others ask for.
#pragma once

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <string>
#include <string_view>

#include "text/tool_calls/tool_format.h"

namespace altlas::server {

// Characters, all letters or digits, that a chat template, or else the family of its notation,
// demands of a call's id; 0: it takes any.
uint32_t call_id_size(std::string_view chat_template, text::ToolFormat format);
// The id of call `number` of choice `choice` of request `id`: "call_" and 24 letters or digits, for
// OpenAI takes 40 characters at most; or `size` of them.
std::string call_id(std::string_view id, size_t choice, size_t number, uint32_t size);
// Gives the calls of a conversation and their answers ids of `size` letters or digits: those that
// have another form get one made from it, the same each time; a call without an id gets one, and an
// answer without one that of the first call that has none yet. `messages`: a list of objects.
void fit_call_ids(boost::json::value& messages, uint32_t size);

}  // namespace altlas::server
