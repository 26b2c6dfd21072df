#include "config/value.h"

#include <fmt/format.h>

#include <cmath>

#include "config/decode.h"
#include "config/document.h"

namespace altlas::config {
namespace {

template <class T>
const T& as(const void* value) {
  return *static_cast<const T*>(value);
}

std::string encode_section(const Type& type, const void* value) {
  std::string out = "{";
  for (const Member& member : type.members) {
    if (out.size() > 1) out += ", ";
    out += json_quote(member.name) + ": " + encode(*member.type, member.info, member.in(value));
  }
  return out + "}";
}

std::string encode_text(const FieldInfo& info, const std::string& text) {
  if (info.secret) return text.empty() ? "\"\"" : "\"***\"";
  if (info.form == Form::kJson) return text.empty() ? "null" : text;
  return json_quote(text);
}

}  // namespace

std::string encode(const Type& type, const FieldInfo& info, const void* value) {
  switch (type.kind) {
    case Type::Kind::kBool:
      return as<bool>(value) ? "true" : "false";
    case Type::Kind::kInt:
      return fmt::format("{}", as<int64_t>(value));
    case Type::Kind::kReal: {
      const double real = as<double>(value);
      return real == std::floor(real) && std::abs(real) < 1e15
                 ? fmt::format("{}", static_cast<int64_t>(real))
                 : fmt::format("{}", real);
    }
    case Type::Kind::kText:
      return encode_text(info, as<std::string>(value));
    case Type::Kind::kEnum:
      return json_quote(name_of(type.names, as<uint8_t>(value)));
    case Type::Kind::kOptional:
      return type.size(value) == 0 ? "null" : encode(*type.element, info, type.at(value, 0));
    case Type::Kind::kSection:
      return encode_section(type, value);
    case Type::Kind::kList:
    case Type::Kind::kMap:
      break;
  }
  const bool map = type.kind == Type::Kind::kMap;
  std::string out = map ? "{" : "[";
  for (size_t i = 0; i < type.size(value); ++i) {
    if (i > 0) out += ", ";
    if (map) out += json_quote(*type.key(value, i)) + ": ";
    out += encode(*type.element, info, type.at(value, i));
  }
  return out + (map ? "}" : "]");
}

bool same(const Type& type, const void* a, const void* b) {
  switch (type.kind) {
    case Type::Kind::kBool:
      return as<bool>(a) == as<bool>(b);
    case Type::Kind::kInt:
      return as<int64_t>(a) == as<int64_t>(b);
    case Type::Kind::kReal:
      return as<double>(a) == as<double>(b);
    case Type::Kind::kText:
      return as<std::string>(a) == as<std::string>(b);
    case Type::Kind::kEnum:
      return as<uint8_t>(a) == as<uint8_t>(b);
    case Type::Kind::kSection:
      for (const Member& member : type.members) {
        if (!same(*member.type, member.in(a), member.in(b))) return false;
      }
      return true;
    case Type::Kind::kOptional:
    case Type::Kind::kList:
    case Type::Kind::kMap:
      break;
  }
  if (type.size(a) != type.size(b)) return false;
  for (size_t i = 0; i < type.size(a); ++i) {
    if (type.kind == Type::Kind::kMap && *type.key(a, i) != *type.key(b, i)) return false;
    if (!same(*type.element, type.at(a, i), type.at(b, i))) return false;
  }
  return true;
}

bool holds_section(const Type& type) {
  if (type.kind == Type::Kind::kSection) return true;
  return type.element != nullptr && holds_section(*type.element);
}

void walk(const Type& type, std::string_view path, const void* section, const Visit& visit) {
  for (const Member& member : type.members) {
    const std::string at = join(path, member.name);
    const void* value = member.in(section);
    if (member.type->kind == Type::Kind::kSection) {
      walk(*member.type, at, value, visit);
    } else if (holds_section(*member.type) && member.type->size(value) > 0) {
      const bool list = member.type->kind == Type::Kind::kList;
      for (size_t i = 0; i < member.type->size(value); ++i) {
        walk(*member.type->element, list ? fmt::format("{}[{}]", at, i) : at,
             member.type->at(value, i), visit);
      }
    } else {
      visit(at, member, value);
    }
  }
}

void walk_settings(const Type& type, std::string_view path, const void* section,
                   const Visit& visit) {
  for (const Member& member : type.members) {
    const std::string at = join(path, member.name);
    if (member.type->kind == Type::Kind::kSection)
      walk_settings(*member.type, at, member.in(section), visit);
    else
      visit(at, member, member.in(section));
  }
}

}  // namespace altlas::config
