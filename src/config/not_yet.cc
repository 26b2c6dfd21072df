#include "config/not_yet.h"

#include <fmt/format.h>

#include "config/decode.h"
#include "config/reference.h"
#include "config/value.h"

namespace altlas::config {
namespace {

// Returns the engine's setting that a deployment's absent value stands for; null for settings that
// override none.
const Member* engine_member(const Type& type, std::string_view name) {
  if (&type != &deployment_type()) return nullptr;
  return config_type().find("engine")->type->find(name);
}

bool is_default(const Type& type, const Member& member, const void* value) {
  if (same(*member.type, value, member.in(type.fresh))) return true;
  const Member* engine = engine_member(type, member.name);
  if (engine == nullptr || member.type->kind != Type::Kind::kOptional) return false;
  const Type& engine_type = *config_type().find("engine")->type;
  return same(*engine->type, member.type->at(value, 0), engine->in(engine_type.fresh));
}

void visit(const Type& type, const std::string& path, const void* section, std::string_view instead,
           std::vector<Finding>& out) {
  for (const Member& member : type.members) {
    const std::string at = join(path, member.name);
    const void* value = member.in(section);
    const std::string_view mark = member.info.not_yet.empty() ? instead : member.info.not_yet;
    if (member.type->kind == Type::Kind::kSection) {
      visit(*member.type, at, value, mark, out);
    } else if (!mark.empty()) {
      if (!is_default(type, member, value))
        out.push_back(
            {at, fmt::format("nothing reads it yet, so it would have no effect: {}", mark)});
    } else if (holds_section(*member.type)) {
      for (size_t i = 0; i < member.type->size(value); ++i)
        visit(*member.type->element, fmt::format("{}[{}]", at, i), member.type->at(value, i), mark,
              out);
    }
  }
}

}  // namespace

std::vector<Finding> not_yet_findings(const Type& type, std::string_view path,
                                      const void* section) {
  std::vector<Finding> out;
  visit(type, std::string(path), section, "", out);
  return out;
}

std::vector<NotYet> not_yet_settings() {
  std::vector<NotYet> out;
  for (const SettingRow& row : reference_rows())
    if (!row.not_yet.empty()) out.push_back({row.path, row.not_yet});
  return out;
}

}  // namespace altlas::config
