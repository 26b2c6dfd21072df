// Run-time description of the sections, made once from their fields(); every generic part works on
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace altlas::config {

struct Type;

struct Member {
  std::string_view name;
  FieldInfo info;
  const Type* type = nullptr;
  size_t offset = 0;  // The offset of the member in its section, in bytes.

  const void* in(const void* section) const { return static_cast<const char*>(section) + offset; }
  void* in(void* section) const { return static_cast<char*>(section) + offset; }
};

// A C++ type that a setting can have. Operations take the address of such a value.
struct Type {
  enum class Kind : uint8_t { kBool, kInt, kReal, kText, kEnum, kOptional, kList, kMap, kSection };
  Kind kind = Kind::kBool;
  const Type* element = nullptr;    // The element of kOptional, kList, kMap.
  std::span<const EnumName> names;  // The names of kEnum, whose values are one byte.
  std::vector<Member> members;      // The members of kSection, in the order of fields().
  const void* fresh = nullptr;      // A value with every default.

  size_t (*size)(const void*) = nullptr;             // kOptional (0 or 1), kList, kMap.
  void (*clear)(void*) = nullptr;                    // The same.
  void* (*append)(void*) = nullptr;                  // kOptional, kList: the new default element.
  const void* (*at)(const void*, size_t) = nullptr;  // kOptional, kList, kMap: the i-th element.
  void* (*insert)(void*,
                  const std::string&) = nullptr;  // kMap: the element of that key, made if absent.
  const std::string* (*key)(const void*, size_t) = nullptr;  // kMap: the i-th key.
  void (*assign)(void*, const void*) = nullptr;              // Any: copy.

  const Member* find(std::string_view name) const {
    for (const Member& member : members) {
      if (member.name == name) return &member;
    }
    return nullptr;
  }
};

// The type of Config. Made at the first call; any thread.
const Type& config_type();
// The type of one deployment, for those that arrive over HTTP.
const Type& deployment_type();

}  // namespace altlas::config
