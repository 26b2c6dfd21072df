// What a program that we start may know of our environment: a list of names, so that keys and
// whatever else this process was given stay with it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace altlas {

// Where programs, homes and temporary folders are, and the language. "LC_*" stands for every name
// that begins so.
inline constexpr std::string_view kPlainVariables[] = {
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR"};

// "NAME=value" of kPlainVariables and `allowed` in `environment` (as main()'s environ), with
// `added` in place of its namesakes.
std::vector<std::string> child_environment(
    const char* const* environment, std::span<const std::string_view> allowed,
    std::span<const std::pair<std::string, std::string>> added);

}  // namespace altlas
