// `messages` of chat requests: checked for what every chat template relies on.
#pragma once

#include <boost/json/fwd.hpp>

#include <memory>

#include "server/body/field.h"
#include "server/json_reader.h"

namespace altlas::server {

boost::json::object messages_schema(const config::Config& now);

inline constexpr BodyField kMessagesField{.needed = "should be a list of {role, content}",
                                          .shared = "Messages",
                                          .schema = messages_schema};

// The list under `messages`: 1 to 4,096 objects with a role and a content: a string, or a list of
// text parts, each {"type": "text", "text": …}; other names of text parts, contents that are not
// there where a call, a tool's silence or reasoning stands for them, members that are null, and the
// older function_call come out in that one form.  Errors go into `reader`; then the result is null.
std::shared_ptr<const boost::json::value> read_messages(const boost::json::array& list,
                                                        JsonReader& reader);

}  // namespace altlas::server
