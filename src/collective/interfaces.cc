#include "collective/interfaces.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace altlas::collective {
namespace {

constexpr uint8_t kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_mapped(const Address& address) {
  return std::memcmp(address.data(), kMappedPrefix, sizeof(kMappedPrefix)) == 0;
}

std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> out;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (comma > 0) out.push_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return out;
}

}  // namespace

std::vector<Interface> interfaces() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, ::freeifaddrs);
  std::vector<Interface> out;
  for (const int family : {AF_INET, AF_INET6})
    for (const ifaddrs* at = first; at != nullptr; at = at->ifa_next)
      if (at->ifa_addr != nullptr && at->ifa_addr->sa_family == family &&
          (at->ifa_flags & IFF_UP) != 0)
        out.push_back({at->ifa_name, from_socket_address(at->ifa_addr).address});
  return out;
}

Result<Interface> choose_interface(std::string_view pattern, std::span<const Interface> all) {
  std::string_view list = pattern;
  const bool excludes = list.starts_with('^');
  if (excludes) list.remove_prefix(1);
  const bool whole = list.starts_with('=');
  if (whole) list.remove_prefix(1);
  const auto names = split(list);
  std::string known;
  for (const Interface& one : all) {
    const bool named = std::ranges::any_of(names, [&](std::string_view name) {
      return whole ? one.name == name : one.name.starts_with(name);
    });
    if (named != excludes && !names.empty()) return one;
    if (known.find(one.name) == known.npos) known += (known.empty() ? "" : ", ") + one.name;
  }
  return not_found(fmt::format("no network interface is meant by '{}': there are {}", pattern,
                               known.empty() ? "none" : known));
}

Result<Endpoint> resolve(const std::string& host, uint16_t port) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_ADDRCONFIG;
  addrinfo* first = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), nullptr, &wanted, &first); code != 0)
    return not_found(fmt::format("host '{}': {}", host, ::gai_strerror(code)));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(first, ::freeaddrinfo);
  Endpoint endpoint = from_socket_address(first->ai_addr);
  endpoint.port = port;
  return endpoint;
}

std::string to_string(const Endpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_mapped(endpoint.address)) {
    ::inet_ntop(AF_INET, endpoint.address.data() + 12, text, sizeof(text));
    return fmt::format("{}:{}", text, endpoint.port);
  }
  ::inet_ntop(AF_INET6, endpoint.address.data(), text, sizeof(text));
  return fmt::format("[{}]:{}", text, endpoint.port);
}

int SocketAddress::family() const { return get()->sa_family; }

SocketAddress to_socket_address(const Endpoint& endpoint) {
  SocketAddress out;
  if (is_mapped(endpoint.address)) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.address.data() + 12, 4);
    std::memcpy(out.storage, &v4, sizeof(v4));
    out.bytes = sizeof(v4);
    return out;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(endpoint.port);
  std::memcpy(&v6.sin6_addr, endpoint.address.data(), 16);
  std::memcpy(out.storage, &v6, sizeof(v6));
  out.bytes = sizeof(v6);
  return out;
}

Endpoint from_socket_address(const sockaddr* address) {
  Endpoint out;
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof(v4));
    std::memcpy(out.address.data(), kMappedPrefix, sizeof(kMappedPrefix));
    std::memcpy(out.address.data() + 12, &v4.sin_addr, 4);
    out.port = ntohs(v4.sin_port);
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof(v6));
    std::memcpy(out.address.data(), &v6.sin6_addr, 16);
    out.port = ntohs(v6.sin6_port);
  }
  return out;
}

}  // namespace altlas::collective
