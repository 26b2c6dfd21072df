// Conversations between JSON and what chat templates see.
#pragma once

#include <boost/json/fwd.hpp>

#include <cstdint>

#include "text/template/chat_template.h"

namespace altlas::server {

// JSON from outside: strings become content. Depth is bounded by the body's parser.
text::Value to_value(const boost::json::value& value);
// A checked list of messages.
text::Value to_messages(const boost::json::value& messages);

// Roles, a bit each, of which a template itself walks over the parts of a message's content; of the
// others the parts have to be joined. `alone`: those of which it shows a content only in parts.
struct PartRoles {
  uint8_t walked = 0;
  uint8_t alone = 0;
};
// Found by rendering conversations.
PartRoles part_roles_of(const text::ChatTemplate& chat_template);

// Contents as the template takes them: parts where it walks over them, else one text, with a line
// end between parts.
void fit_parts(boost::json::value& messages, const PartRoles& roles);

}  // namespace altlas::server
