// TCP sockets: an address as people write it, listening, connecting within a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "collective/interfaces.h"
#include "collective/transport.h"

namespace altlas::collective {

struct HostPort {
  std::string host;
  uint16_t port = 0;
};
// "10.0.0.1:7000", "gateway:7000", "[fe80::1]:7000".  Errors: kInvalid, saying what would be right.
Result<HostPort> parse_host_port(std::string_view text);

// What poll() takes: at most some minutes; 0 when the time has passed.
int milliseconds_until(Deadline deadline);

// A socket that listens and does not block.  Errors: kIo, naming the address.
Result<Fd> listen_at(const Endpoint& endpoint);
// Where a socket listens, or is bound.
Endpoint own_endpoint(int fd);
// Whom a connected socket leads to.
Endpoint peer_endpoint(int fd);

// Connects, and tries again until `deadline` while nobody listens there yet; the socket does not
// block. `own`: the local address to connect from, or null.  Errors: kDeadline, kIo.
Result<Fd> connect_to(const Endpoint& endpoint, const Address* own, Deadline deadline);

}  // namespace altlas::collective
