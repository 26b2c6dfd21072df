// admit: what a request's head decides: route, key, role. dispatch: from there to a response:
// content type, handler, meta, CORS.
#pragma once

#include "server/handlers.h"
#include "server/http/auth.h"
#include "server/http/route.h"

namespace altlas::server {

// Where a request goes and who asks.
struct Admitted {
  RouteMatch match;  // Without a route: 404, 405, or what OPTIONS is answered.
  Identity identity;
};
// Once for each request, by its head. Errors: kUnauthorized, kForbidden.
Result<Admitted> admit(const Request& head, const Services& services, const Auth& auth);

// Never throws; whatever goes wrong becomes a response, an error of admit() too.
boost::asio::awaitable<Response> dispatch(Request request, Result<Admitted> admitted,
                                          Services& services);

}  // namespace altlas::server
