#include "server/handlers.h"

#include <boost/json.hpp>

#include "server/json_reader.h"

namespace altlas::server {

Result<boost::json::object> read_body(const Request& request, const Rooms& rooms) {
  return parse_object(request.body, static_cast<size_t>(rooms.config.server.json_depth_max));
}

}  // namespace altlas::server
