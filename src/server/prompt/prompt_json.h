// Prompts as request bodies write them: text, token ids, or lists of either.
#pragma once

#include <boost/json/fwd.hpp>

#include <string>
#include <vector>

#include "server/body/field.h"
#include "server/json_reader.h"
#include "server/prompt/prompt.h"

namespace altlas::server {

inline constexpr size_t kPromptsMax = 1000;

// Token ids written as a list.  Errors: kInvalid, field `name`: empty, or not ids of the model.
Result<std::vector<int32_t>> read_ids(const boost::json::array& list, const ServedModel& model,
                                      const std::string& name);
boost::json::object id_list_schema(const config::Config& now);

// The schema of prompts, which embeddings call `input`; control tokens are read in the texts of
// some routes.
boost::json::object prompts_schema(const config::Config& now);
inline constexpr BodyField kPromptsField{
    .help = "A text, token ids, or a list of either",
    .needed = "should be a string, a list of strings, or token ids",
    .schema = prompts_schema};
inline constexpr BodyField kAddSpecialField{
    .help = "The model's begin and end of a text are put around it"};
inline constexpr BodyField kParseSpecialField{
    .help = "False: what is spelled as a control token is plain text"};

// A string, a list of strings, a list of ids, or a list of lists of ids: at least one, at most
// kPromptsMax, none empty.  Errors: kInvalid, field `name`.
Result<std::vector<PromptSource>> read_prompts(const boost::json::value& value,
                                               const std::string& name, const ServedModel& model);

}  // namespace altlas::server
