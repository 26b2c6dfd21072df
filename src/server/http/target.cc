#include "server/http/target.h"

#include <algorithm>

#include "base/strings.h"
#include "base/utf8.h"

namespace altlas::server {
namespace {

std::optional<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
      if (low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

std::string_view origin_form(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (lower(target.substr(0, scheme.size())) != scheme) continue;
    const size_t end = target.find_first_of("/?", scheme.size());
    return end == std::string_view::npos ? std::string_view() : target.substr(end);
  }
  return target;
}

std::string_view authority_of(std::string_view target) {
  const size_t origin_bytes = origin_form(target).size();
  if (origin_bytes == target.size()) return {};
  const std::string_view front = target.substr(0, target.size() - origin_bytes);
  return front.substr(front.find("://") + 3);
}

std::optional<Target> parse_target(std::string_view target) {
  Target out;
  if (target == "*") {
    out.path = target;
    return out;
  }
  const std::string_view origin = origin_form(target);
  const bool absolute = origin.size() != target.size();
  if (absolute && target.substr(0, target.size() - origin.size()).ends_with('/'))
    return std::nullopt;  // "http:///path" names no host.
  if (!absolute && !origin.starts_with('/')) return std::nullopt;
  if (origin.find('#') != std::string_view::npos) return std::nullopt;
  const size_t mark = std::min(origin.find('?'), origin.size());
  auto path = decode(origin.substr(0, mark), false);
  if (!path) return std::nullopt;
  out.path = path->empty() ? "/" : *std::move(path);
  std::string_view query = origin.substr(std::min(mark + 1, origin.size()));
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view parameter = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (parameter.empty()) continue;
    const size_t equals = std::min(parameter.find('='), parameter.size());
    auto key = decode(parameter.substr(0, equals), true);
    auto value = decode(parameter.substr(std::min(equals + 1, parameter.size())), true);
    if (!key || !value) return std::nullopt;
    out.query.emplace_back(*std::move(key), *std::move(value));
  }
  return out;
}

}  // namespace altlas::server
