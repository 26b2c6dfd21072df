#include "collective/sockets.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace altlas::collective {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Error errno_error(std::string_view what) {
  return io_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

}  // namespace

int milliseconds_until(Deadline deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1'000'000));
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto wrong = [&] {
    return invalid(
        fmt::format("'{}' is no address: write HOST:PORT (10.0.0.1:7000, gateway:7000, [::1]:7000)",
                    text.substr(0, 100)));
  };
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return wrong();
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']'))
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != host.npos)
    return wrong();
  HostPort out{std::string(host), 0};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
  if (host.empty() || digits.empty() || error != std::errc() ||
      end != digits.data() + digits.size())
    return wrong();
  return out;
}

Result<Fd> listen_at(const Endpoint& endpoint) {
  const SocketAddress address = to_socket_address(endpoint);
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (fd) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (!fd || ::bind(fd.get(), address.get(), address.bytes) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0)
    return errno_error(fmt::format("to listen at {}", to_string(endpoint)));
  return fd;
}

Endpoint own_endpoint(int fd) {
  SocketAddress address;
  socklen_t size = sizeof(address.storage);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(address.storage), &size);
  return from_socket_address(address.get());
}

Result<Fd> connect_to(const Endpoint& endpoint, const Address* own, Deadline deadline) {
  const SocketAddress address = to_socket_address(endpoint);
  while (true) {
    Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return errno_error("a socket");
    if (own != nullptr) {
      const SocketAddress from = to_socket_address({*own, 0});
      if (::bind(fd.get(), from.get(), from.bytes) != 0)
        return errno_error(fmt::format("from {} to {}", to_string({*own, 0}), to_string(endpoint)));
    }
    int code = ::connect(fd.get(), address.get(), address.bytes) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
      pollfd waiting{fd.get(), POLLOUT, 0};
      ::poll(&waiting, 1, milliseconds_until(deadline));
      socklen_t size = sizeof(code);
      ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &size);
      if (waiting.revents == 0) code = ETIMEDOUT;
    }
    if (code == 0) return fd;
    const int left = milliseconds_until(deadline);
    if (left == 0)
      return Error(ErrorCode::kDeadline,
                   fmt::format("nobody listened at {} within the timeout ({})", to_string(endpoint),
                               std::strerror(code)));
    if (code != ECONNREFUSED && code != ETIMEDOUT && code != EHOSTUNREACH) {
      errno = code;
      return errno_error(fmt::format("to reach {}", to_string(endpoint)));
    }
    // The other rank is not there yet.
    ::poll(nullptr, 0, std::min(left, 10));
  }
}

Endpoint peer_endpoint(int fd) {
  SocketAddress address;
  socklen_t size = sizeof(address.storage);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(address.storage), &size) != 0) return {};
  return from_socket_address(address.get());
}

}  // namespace altlas::collective
