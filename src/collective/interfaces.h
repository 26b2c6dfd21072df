// Network interfaces of this machine, and addresses as ranks tell them to each other.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct sockaddr;

namespace altlas::collective {

// IPv6, or IPv4 mapped into it (RFC 4291, 2.5.5.2).
using Address = std::array<uint8_t, 16>;
struct Endpoint {
  Address address{};
  uint16_t port = 0;
};

struct Interface {
  std::string name;
  Address address{};
};
// Those that are up, each with its addresses, IPv4 first.
std::vector<Interface> interfaces();

// The first of `all` that `pattern` means, as NCCL_SOCKET_IFNAME is written: prefixes with commas
// between them ("eth,ens"), "=" before them: whole names, "^": all but those. Errors: kNotFound,
// naming what is there.
Result<Interface> choose_interface(std::string_view pattern, std::span<const Interface> all);

// Resolves a name or an address.  Errors: kNotFound.
Result<Endpoint> resolve(const std::string& host, uint16_t port);
std::string to_string(const Endpoint& endpoint);  // "10.0.0.1:29500", "[fe80::1]:29500".

// With the kernel's structures: `bytes` of `storage` are used.
struct SocketAddress {
  alignas(8) std::byte storage[128] = {};
  unsigned bytes = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(storage); }
  int family() const;
};
SocketAddress to_socket_address(const Endpoint& endpoint);
Endpoint from_socket_address(const sockaddr* address);

}  // namespace altlas::collective
