// `messages` of chat requests: checked for what every chat template relies on.
#pragma once

#include <boost/json/fwd.hpp>

#include <memory>

#include "server/json_reader.h"

namespace altlas::server {

// The list under `messages`: 1 to 4,096 objects with a role and a content (string, null, or a list
// of text parts, which are joined).  Errors go into `reader`; then the result is null.
std::shared_ptr<const boost::json::value> read_messages(JsonReader& reader);

}  // namespace altlas::server
