// Prompts as request bodies write them: text, token ids, or lists of either.
#pragma once

#include <boost/json/fwd.hpp>

#include <string>
#include <vector>

#include "server/json_reader.h"
#include "server/prompt/prompt.h"

namespace altlas::server {

inline constexpr size_t kPromptsMax = 1000;

// Token ids written as a list.  Errors: kInvalid, field `name`: empty, or not ids of the model.
Result<std::vector<int32_t>> read_ids(const boost::json::array& list, const ServedModel& model,
                                      const std::string& name);
// How a text that is no conversation is read: `parse_special`, with its default, and vLLM's
// `add_special_tokens`.
void read_special(JsonReader& reader, Prompt& prompt, bool parse_special);
// A string, a list of strings, a list of ids, or a list of lists of ids: at least one, at most
// kPromptsMax, none empty.  Errors: kInvalid, field `name`.
Result<std::vector<Prompt>> read_prompts(JsonReader& reader, const std::string& name,
                                         const ServedModel& model);

}  // namespace altlas::server
