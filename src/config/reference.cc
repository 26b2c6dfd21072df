#include "config/reference.h"

#include <fmt/format.h>

#include "config/decode.h"
#include "config/document.h"
#include "config/value.h"

namespace altlas::config {
namespace {

std::string type_text(const Type& type, const FieldInfo& info) {
  switch (type.kind) {
    case Type::Kind::kBool:
      return "boolean";
    case Type::Kind::kInt:
      return info.form == Form::kBytes     ? "size"
             : info.form == Form::kDevices ? "device"
                                           : "integer";
    case Type::Kind::kReal:
      return "number";
    case Type::Kind::kEnum:
      return "one of " + list_names(type.names);
    case Type::Kind::kOptional:
      return type_text(*type.element, info);
    case Type::Kind::kSection:
      return "section";
    case Type::Kind::kMap:
      return "map of name to " + type_text(*type.element, info);
    case Type::Kind::kList:
      return (info.one_or_list ? "one, or list of " : "list of ") + type_text(*type.element, info);
    case Type::Kind::kText:
      break;
  }
  if (info.form == Form::kJson) return "any value";
  std::string out;
  for (const std::string_view choice : info.choices)
    out += (out.empty() ? "one of " : ", ") + std::string(choice);
  return out.empty() ? "text" : out;
}

std::string variable(std::string_view path) {
  std::string out = "ALTLAS_";
  for (const char c : path)
    out += c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

SettingRow make_row(const std::string& path, const Member& member, const void* value,
                    std::string_view not_yet = "") {
  SettingRow row;
  row.path = path;
  row.environment = path.find('[') == path.npos ? variable(path) : "";
  row.environment_too = member.info.environment;
  row.type = type_text(*member.type, member.info);
  row.default_value = encode(*member.type, member.info, value);
  row.help = member.info.help;
  row.unit = member.info.unit;
  row.range = range_text(member.info);
  row.old_name = member.info.old_name;
  row.reload = member.info.reload;
  row.secret = member.info.secret;
  row.not_yet = member.info.not_yet.empty() ? not_yet : member.info.not_yet;
  return row;
}

// Returns the mark of the section that `path` is in, or "".
std::string_view mark_above(std::string_view path) {
  const Member* section = config_type().find(path.substr(0, path.find('.')));
  return section == nullptr ? "" : section->info.not_yet;
}

// Returns the text as a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

void write_row(const SettingRow& row, std::string& out) {
  std::string notes = row.help;
  if (!row.unit.empty()) notes += fmt::format(" Unit: {}.", row.unit);
  if (!row.range.empty()) notes += fmt::format(" Range: {}.", row.range);
  if (!row.old_name.empty()) notes += fmt::format(" Old name: `{}`.", row.old_name);
  if (!row.environment_too.empty()) notes += fmt::format(" Also from `{}`.", row.environment_too);
  if (row.secret) notes += " Secret: never shown.";
  if (!row.not_yet.empty())
    notes += fmt::format(" **Not yet**: nothing reads it, so another value is an error; {}.",
                         row.not_yet);
  out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", row.path, cell(row.type),
                     cell(row.default_value), row.reload ? "yes" : "", cell(notes));
}

void list_members(const Type& type, const std::string& path, const void* section,
                  std::string_view not_yet, std::vector<SettingRow>& out) {
  for (const Member& member : type.members) {
    const std::string at = join(path, member.name);
    const void* value = member.in(section);
    const std::string_view mark = member.info.not_yet.empty() ? not_yet : member.info.not_yet;
    if (member.type->kind == Type::Kind::kSection) {
      list_members(*member.type, at, value, mark, out);
      continue;
    }
    out.push_back(make_row(at, member, value, mark));
    if (!holds_section(*member.type)) continue;
    const Type& element = *member.type->element;
    const bool list = member.type->kind == Type::Kind::kList;
    list_members(element, list ? at + "[]" : at, element.fresh, mark, out);
  }
}

// Returns the settings of one of Config's sections.
std::vector<SettingRow> section_rows(const Member& section) {
  std::vector<SettingRow> rows;
  const bool list = section.type->kind == Type::Kind::kList;
  const Type& type = list ? *section.type->element : *section.type;
  list_members(type, std::string(section.name) + (list ? "[]" : ""),
               list ? type.fresh : section.in(config_type().fresh), section.info.not_yet, rows);
  return rows;
}

}  // namespace

std::vector<SettingRow> reference_rows() {
  std::vector<SettingRow> rows;
  for (const Member& section : config_type().members)
    for (SettingRow& row : section_rows(section)) rows.push_back(std::move(row));
  return rows;
}

const std::vector<SettingRow>& setting_rows() {
  static const std::vector<SettingRow> rows = [] {
    std::vector<SettingRow> made;
    walk_settings(config_type(), "", config_type().fresh,
                  [&made](const std::string& path, const Member& member, const void* value) {
                    made.push_back(make_row(path, member, value, mark_above(path)));
                  });
    return made;
  }();
  return rows;
}

const SettingRow* find_setting(std::string_view path) {
  for (const SettingRow& row : setting_rows()) {
    if (row.path == path) return &row;
  }
  return nullptr;
}

std::string flag_help(const SettingRow& row) {
  std::string notes = row.range;
  if (row.type.starts_with("one of ")) notes = row.type;
  if (!row.unit.empty()) notes += (notes.empty() ? "" : " ") + row.unit;
  const bool empty = row.secret || row.default_value == "\"\"" || row.default_value == "[]" ||
                     row.default_value == "null";
  if (!empty) notes += (notes.empty() ? "default " : "; default ") + row.default_value;
  const std::string& name = row.environment_too.empty() ? row.environment : row.environment_too;
  notes += fmt::format("{}{}; {}", notes.empty() ? "" : "; ", name, row.path);
  if (!row.not_yet.empty()) notes += "; not yet: nothing reads it";
  return fmt::format("{} ({})", row.help, notes);
}

std::string markdown_reference() {
  std::string out =
      "# Configuration\n\n"
      "Made from the settings' metadata; a test compares this page with it.\n\n"
      "A value comes from, strongest first: a flag, the environment, the file, a preset, its "
      "default. The variable of a\n"
      "setting is its path in capitals with `_` for `.` after `ALTLAS_`: `server.port` is "
      "`ALTLAS_SERVER_PORT`. Lists in\n"
      "variables are separated by commas, or written as YAML (`[a, b]`); so are maps. A list or "
      "map of a stronger source\n"
      "replaces the weaker one's. Unknown keys are errors. Sizes are bytes or carry a unit "
      "(`4GiB`). *Reload* says whether\n"
      "SIGHUP can change the setting. `altlas validate-config FILE` reports everything that is "
      "wrong, with its line;\n"
      "`altlas validate-config --not-yet` lists the settings that nothing reads yet.\n";
  for (const Member& section : config_type().members) {
    out += fmt::format(
        "\n## {}\n\n{}\n\n| Setting | Type | Default | Reload | Meaning |\n|---|---|---|---|---|\n",
        section.name, section.info.help);
    for (const SettingRow& row : section_rows(section)) write_row(row, out);
  }
  return out;
}

}  // namespace altlas::config
