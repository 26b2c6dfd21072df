// Host: under which name a client asks (RFC 9110, section 7.2), and whether a page of another site
// may stand behind it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/config.h"
#include "server/http/http.h"

namespace altlas::server {

struct Authority {
  std::string host;  // Lower case, an IPv6 address without brackets, a name without its last dot.
  std::string port;  // Decimal, or empty.
};

// Reads "host", "host:port", "[v6]:port" (RFC 3986, section 3.2.2, without user information and
// without escapes). Nothing for another form, an empty host too. Pure.
std::optional<Authority> parse_authority(std::string_view text);

// Whether a server without keys answers to this name: loopback ones, `local_address` (numeric, of
// the connection), server.host, this machine's name, server.allowed_hosts. A page whose site's name
// was made to point at this machine (DNS rebinding) asks under its own name. Pure but for the
// machine's name.
bool host_allowed(const config::ServerConfig& config, const Authority& host,
                  std::string_view local_address);

// Whether a page of `origin` is of the site that answers under `host`. "null" is of none. Pure.
bool same_site(std::string_view origin, const Authority& host);

// Why a browser's page may not ask this, for the page is somebody else's; nothing: it may, or no
// page asks. With keys a page needs one, which browsers add by themselves only for Basic.
// Errors: kForbidden.
Result<void> check_page(const config::ServerConfig& config, const Request& head, bool has_keys,
                        std::string_view local_address);

}  // namespace altlas::server
