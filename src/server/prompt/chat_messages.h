// `messages` of chat requests: checked for what every chat template relies on.
#pragma once

#include <boost/json/fwd.hpp>

#include <memory>

#include "server/json_reader.h"

namespace altlas::server {

// The list under `messages`: 1 to 4,096 objects with a role and a content: a string, or a list of
// text parts, each {"type": "text", "text": …}; other names of text parts, contents that are not
// there where a call, a tool's silence or reasoning stands for them, members that are null, and the
// older function_call come out in that one form.  Errors go into `reader`; then the result is null.
std::shared_ptr<const boost::json::value> read_messages(JsonReader& reader);

}  // namespace altlas::server
