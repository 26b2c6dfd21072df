// Settings that nothing reads yet: an error when set away from their default, so that nobody waits
// for an effect that does not come.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/type.h"
#include "config/validate.h"

namespace altlas::config {

// An error for each setting of `section` that carries a `not_yet` mark, or stands inside one that
// does, and is not at its default. `path` leads to the section.
std::vector<Finding> not_yet_findings(const Type& type, std::string_view path, const void* section);

// One marked setting, and what to do instead.
struct NotYet {
  std::string path;  // "spot.enabled", "deployments[].num_cpus".
  std::string_view instead;
};
// All of them, in the order of the sections.
std::vector<NotYet> not_yet_settings();

}  // namespace altlas::config
