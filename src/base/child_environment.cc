#include "base/child_environment.h"

#include <algorithm>

namespace altlas {
namespace {

bool in_list(std::string_view name, std::span<const std::string_view> list) {
  return std::ranges::any_of(list, [name](std::string_view one) {
    return one.ends_with('*') ? name.starts_with(one.substr(0, one.size() - 1)) : name == one;
  });
}

}  // namespace

std::vector<std::string> child_environment(
    const char* const* environment, std::span<const std::string_view> allowed,
    std::span<const std::pair<std::string, std::string>> added) {
  std::vector<std::string> out;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    const size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string_view::npos) continue;
    const std::string_view name = entry.substr(0, equals);
    if (!in_list(name, kPlainVariables) && !in_list(name, allowed)) continue;
    if (std::ranges::find(added, name, [](const auto& pair) -> std::string_view {
          return pair.first;
        }) == added.end())
      out.emplace_back(entry);
  }
  for (const auto& [name, value] : added) out.push_back(name + "=" + value);
  return out;
}

}  // namespace altlas
