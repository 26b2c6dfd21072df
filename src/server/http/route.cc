#include "server/http/route.h"

#include "server/http/target.h"

namespace altlas::server {
namespace {

// Takes the first segment off "/a/b/c".
std::string_view next_segment(std::string_view& path) {
  path.remove_prefix(1);
  const size_t end = path.find('/');
  const std::string_view segment = path.substr(0, end);
  path.remove_prefix(end == std::string_view::npos ? path.size() : end);
  return segment;
}

bool match_pattern(std::string_view pattern, std::string_view path,
                   std::vector<std::pair<std::string, std::string>>& parameters) {
  parameters.clear();
  while (!pattern.empty() && !path.empty()) {
    if (path.front() != '/') return false;
    if (pattern.ends_with("*}") && pattern.find('/', 1) == std::string_view::npos) {
      if (path.size() < 2) return false;
      parameters.emplace_back(std::string(pattern.substr(2, pattern.size() - 4)),
                              std::string(path.substr(1)));
      return true;
    }
    const std::string_view want = next_segment(pattern), got = next_segment(path);
    if (want.starts_with('{')) {
      if (got.empty()) return false;
      parameters.emplace_back(std::string(want.substr(1, want.size() - 2)), std::string(got));
    } else if (want != got) {
      return false;
    }
  }
  return pattern.empty() && path.empty();
}

}  // namespace

RouteMatch match_route(std::span<const Route> table, std::string_view method,
                       std::string_view path) {
  RouteMatch match;
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  for (const Route& route : table) {
    std::vector<std::pair<std::string, std::string>> parameters;
    if (!match_pattern(route.pattern, path, parameters)) continue;
    if (route.method == wanted) {
      match.route = &route;
      match.parameters = std::move(parameters);
      return match;
    }
    match.allow += (match.allow.empty() ? "" : ", ") + std::string(route.method);
    if (route.method == "GET") match.allow += ", HEAD";
  }
  return match;
}

bool openai_style(std::string_view target) { return origin_form(target).starts_with("/v1/"); }

}  // namespace altlas::server
