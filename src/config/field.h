// What is said about a setting beside its name and default: help, unit, range, choices, reload,
// secret.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace altlas::config {

// How a value is written where its C++ type alone does not say.
enum class Form : uint8_t {
  kPlain,
  kBytes,       // int64_t: "4GiB" or a number of bytes.
  kDevices,     // int64_t: "gpu_0" or 0.
  kPriorities,  // Priorities, highest first, or a map of level to rank.
  kJson,        // std::string: any YAML value, kept as JSON text.
};

// One row of a section's fields(). Everything that faces a user is made from it.
struct FieldInfo {
  std::string_view help;
  std::string_view unit = "";
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::span<const std::string_view> choices = {};  // The choices of text; enums carry their own.
  Form form = Form::kPlain;
  bool reload = false;             // SIGHUP may change it.
  bool secret = false;             // Never shown.
  bool one_or_list = false;        // A list of one may be written without brackets.
  std::string_view key = "";       // A list of sections may be a map whose keys fill this member.
  std::string_view old_name = "";  // Accepted with a warning.
  std::string_view environment = "";  // A variable besides the one made from the path.
  // Nothing reads it yet, nor what is inside it: set away from its default it is an error. What to
  // do instead, as an order ("remove it"); empty: it is read.
  std::string_view not_yet = "";
};

}  // namespace altlas::config
