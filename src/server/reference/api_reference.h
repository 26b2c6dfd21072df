// docs/api.md: every route, its fields and its statuses, from the route table and the schemas.
#pragma once

#include <string>

namespace altlas::server {

std::string api_markdown();

}  // namespace altlas::server
