// What the settings' metadata says, for people and tools: flag help, docs/config.md, JSON Schema.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace altlas::config {

// One setting. Those inside a list have "[]" in their path and no variable of their own.
struct SettingRow {
  std::string path;             // "server.port", "deployments[].model".
  std::string environment;      // "ALTLAS_SERVER_PORT"; empty inside a list.
  std::string environment_too;  // "ALTLAS_API_KEY"; empty for most.
  std::string type;             // "integer", "list of text", "round_robin, least_loaded, ..."
  std::string default_value;    // As JSON.
  std::string help;
  std::string unit;
  std::string range;  // "1 to 8", "at least 1", or empty.
  std::string old_name;
  bool reload = false;
  bool secret = false;
  std::string_view not_yet;  // Nothing reads it yet; what to do instead.
};

// Every setting that a flag or a variable can set, in the order of the sections.
const std::vector<SettingRow>& setting_rows();
// Those and the ones inside lists, as docs/config.md has them.
std::vector<SettingRow> reference_rows();
// The row of one path, nullptr if there is none.
const SettingRow* find_setting(std::string_view path);
// Text of a flag's line in --help: "Port to listen on ... (0 to 65535; default 8000;
// ALTLAS_SERVER_PORT; server.port)".
std::string flag_help(const SettingRow& row);
// docs/config.md.
std::string markdown_reference();
// JSON Schema (2020-12) of the YAML file, indented by two spaces.
std::string json_schema();

}  // namespace altlas::config
