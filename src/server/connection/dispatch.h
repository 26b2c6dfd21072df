// dispatch: from a read request to a response: route, key, role, content type, handler, meta, CORS.
#pragma once

#include "server/handlers.h"
#include "server/http/auth.h"

namespace altlas::server {

// Never throws; whatever goes wrong becomes a response.
boost::asio::awaitable<Response> dispatch(Request request, Rooms& rooms, const Auth& auth);

}  // namespace altlas::server
