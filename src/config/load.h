// Loading: preset, file, environment and flags onto the defaults; every error at once, each with
// its place.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/config.h"

namespace altlas::config {

// From weak to strong: a stronger source's value stands.
enum class Source : uint8_t { kDefault, kPreset, kFile, kEnvironment, kFlag };
std::string_view to_string(Source source);

// A text and the name that messages call it.
struct TextSource {
  std::string name;
  std::string text;
};
// A command line flag: the setting's path ("server.port"), the value as given, the flag as spelled
// ("--port"). Flags of one list setting add up.
struct Flag {
  std::string path;
  std::string value;
  std::string spelling;
};

struct LoadInput {
  std::vector<TextSource> presets;  // Partial files; a later one stands over an earlier one.
  std::optional<TextSource> file;
  std::vector<std::pair<std::string, std::string>>
      environment;  // All of it; only ALTLAS_* is looked at.
  std::vector<Flag> flags;
};

// One thing that is wrong, or doubtful.
struct Problem {
  // "altlas.yaml:3:9", "--port", "environment variable ALTLAS_SERVER_PORT", or "default".
  std::string where;
  std::string path;  // "gpu.multi_gpu.default_strategy", "deployments[0].model".
  std::string what;  // What was wrong, and what would be right.
};
// "altlas.yaml:3:9: server.port: 70000 is not from 0 to 65535".
std::string to_string(const Problem& problem);

struct Origin {
  Source source = Source::kDefault;
  std::string where;
};

struct Loaded {
  Config config;
  std::vector<Problem> warnings;
  // Where each setting that is not the default's comes from, by path.
  std::map<std::string, Origin> origins;
};

// A load with everything that is wrong; `loaded` is usable only if `errors` is empty.
struct LoadReport {
  Loaded loaded;
  std::vector<Problem> errors;
};
inline constexpr size_t kProblemsMax = 100;

// Every error of every source and of validate(), at most kProblemsMax.  Pure: reads no file and no
// environment.
LoadReport load_report(const LoadInput& input);
// The same for callers that need no list. Errors: kInvalid, one problem a line; field is the first
// one's path.
Result<Loaded> load(const LoadInput& input);
// One deployment as JSON, as PUT /api/v1/deployments/<name> carries it. Warnings are added to
// `warnings`. Errors: kInvalid, one problem a line; field is the first one's path.
Result<DeploymentConfig> parse_deployment(std::string_view name, std::string_view json,
                                          std::vector<Problem>& warnings);
// Keys of a keys file: one a line, spaces around it cut, empty lines and '#' lines left out.
std::vector<std::string> parse_keys_file(std::string_view text);

// One setting of a configuration as shown to people; secrets are "***" ("" when empty).
struct Row {
  std::string path;
  std::string value;  // As JSON.
  Origin origin;
};
std::vector<Row> rows(const Loaded& loaded);
// YAML of the whole configuration, each line with the source that won: "port: 8080  # flag --port".
std::string dump(const Loaded& loaded);

// A setting that two configurations do not share.
struct Change {
  std::string path;
  bool reload = false;  // It may change while the server runs.
};
std::vector<Change> changes(const Config& old_config, const Config& new_config);
// `old_config` with those of `new_config`'s values that may change while the server runs.
Config reloaded(const Config& old_config, const Config& new_config);

}  // namespace altlas::config
