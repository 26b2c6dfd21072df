#include "server/http/host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <cctype>

#include "base/strings.h"
#include "server/http/cors.h"

namespace altlas::server {
namespace {

constexpr size_t kHostBytesMax = 255;

// The characters are unreserved and sub-delims of RFC 3986; international names come as punycode.
bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("-._~!$&'()*+,;=").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool is_port(std::string_view text) {
  const auto digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  if (text.size() > 5 || !std::ranges::all_of(text, digit)) return false;
  return text.empty() || std::stoi(std::string(text)) <= 65535;
}

std::optional<boost::asio::ip::address> address_of(std::string_view text) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(text, error);
  if (error) return std::nullopt;
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
  return address;
}

std::string machine_name() {
  std::array<char, kHostBytesMax + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "";
  return lower(name.data());
}

bool same_host(std::string_view a, std::string_view b) {
  const auto left = address_of(a), right = address_of(b);
  return left && right ? *left == *right : lower(a) == lower(b);
}

std::string_view without_brackets(std::string_view host) {
  return host.size() > 2 && host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

}  // namespace

std::optional<Authority> parse_authority(std::string_view text) {
  Authority out;
  std::string_view rest;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    const auto address = address_of(text.substr(1, end - 1));
    if (!address || text.substr(1, end - 1).find(':') == std::string_view::npos)
      return std::nullopt;
    out.host = lower(text.substr(1, end - 1));
    rest = text.substr(end + 1);
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    std::string_view host = text.substr(0, colon);
    if (!is_name(host) || host.size() > kHostBytesMax) return std::nullopt;
    if (host.ends_with('.')) host.remove_suffix(1);
    if (host.empty()) return std::nullopt;
    out.host = lower(host);
    rest = text.substr(colon);
  }
  if (rest.empty()) return out;
  if (!rest.starts_with(':') || !is_port(rest.substr(1))) return std::nullopt;
  out.port = rest.substr(1);
  return out;
}

bool host_allowed(const config::ServerConfig& config, const Authority& host,
                  std::string_view local_address) {
  if (const auto address = address_of(host.host); address && address->is_loopback()) return true;
  if (host.host == "localhost" || host.host.ends_with(".localhost")) return true;
  if (same_host(host.host, local_address) || same_host(host.host, config.host)) return true;
  if (const std::string name = machine_name(); !name.empty() && host.host == name) return true;
  return std::ranges::any_of(config.allowed_hosts, [&](const std::string& allowed) {
    return allowed == "*" || same_host(host.host, without_brackets(allowed));
  });
}

bool same_site(std::string_view origin, const Authority& host) {
  const size_t mark = origin.find("://");
  if (mark == std::string_view::npos) return false;
  const std::string scheme = lower(origin.substr(0, mark));
  const auto site = parse_authority(origin.substr(mark + 3));
  if (!site || !same_host(site->host, host.host)) return false;
  const auto port = [&](const Authority& of) {
    return of.port.empty() ? std::string(scheme == "https" ? "443" : "80") : of.port;
  };
  return port(*site) == port(host);
}

Result<void> check_page(const config::ServerConfig& config, const Request& head, bool has_keys,
                        std::string_view local_address) {
  const auto host = parse_authority(head.host);
  if (!has_keys && host && !host_allowed(config, *host, local_address))
    return Error(ErrorCode::kForbidden,
                 fmt::format("this server has no key and does not answer to the name '{}': ask "
                             "for localhost or its address, or put the name in "
                             "server.allowed_hosts",
                             host->host));
  const bool changes = head.method != "GET" && head.method != "HEAD" && head.method != "OPTIONS";
  const bool by_itself = !has_keys || lower(head.authorization.substr(0, 5)) == "basic";
  if (!changes || !by_itself || head.origin.empty() || origin_allowed(config, head.origin))
    return {};
  if (host && same_site(head.origin, *host)) return {};
  return Error(ErrorCode::kForbidden,
               fmt::format("a page of '{}' may not do this: send no Origin, or put it in "
                           "server.cors_origins",
                           head.origin.substr(0, 128)));
}

}  // namespace altlas::server
