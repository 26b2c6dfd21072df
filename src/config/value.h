// Typed values seen through their run-time types: as JSON, compared, and walked.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "config/type.h"

namespace altlas::config {

// The value as JSON; secrets inside it as "***" where they are not empty. An absent optional is
// null.
std::string encode(const Type& type, const FieldInfo& info, const void* value);
// The unmasked values are the same.
bool same(const Type& type, const void* a, const void* b);

// Calls `visit(path, member, value)` for every setting that has no section inside it, in the order
// of fields(). Lists of sections and present optional sections are walked element by element
// ("deployments[0].model").
using Visit = std::function<void(const std::string& path, const Member& member, const void* value)>;
void walk(const Type& type, std::string_view path, const void* section, const Visit& visit);
// The same for what a flag or variable can set: only sections are walked, lists of sections are one
// setting.
void walk_settings(const Type& type, std::string_view path, const void* section,
                   const Visit& visit);
// True for a list, map or optional whose innermost element is a section.
bool holds_section(const Type& type);

}  // namespace altlas::config
