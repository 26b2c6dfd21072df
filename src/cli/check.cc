// altlas validate-config.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/command.h"
#include "cli/missing.h"
#include "cli/setup.h"
#include "config/device_spec.h"
#include "config/not_yet.h"
#include "config/reference.h"
#include "config/validate.h"
#include "ops/simd.h"

namespace altlas::cli {
namespace {

// Returns the number of devices that the configuration names, or 0 if the machine decides it.
int64_t devices_named(const config::Config& config) {
  const auto spec = config::parse_device_list(config.engine.devices);
  if (!spec.ok()) return 0;
  int64_t count = 0;
  for (const config::DevicePart& part : spec->parts) {
    if (part.kind == config::DevicePart::Kind::kCuda && part.indices.empty()) return 0;
    count += part.count;
  }
  return count;
}

// Warns of a target that this machine lacks. Errors: kInvalid for a name that no machine knows.
Result<void> check_simd(const std::string& file, const std::string& name) {
  if (name.empty()) return {};
  const auto target = ops::parse_simd_target(name);
  if (!target.ok())
    return invalid(fmt::format("{}: engine.simd: {}", file, target.error().message()));
  if (!ops::simd_supported(*target))
    fmt::print(stderr,
               "altlas: warning: {}: engine.simd: this machine cannot run {}; it can run {}\n",
               file, name, ops::supported_simd_targets());
  return {};
}

}  // namespace

int check_config(const SettingFlags& flags) {
  const auto loaded = load_config(flags);
  if (!loaded.ok()) return fail(loaded.error());
  const std::string name = flags.config_file.empty() ? "the configuration" : flags.config_file;
  const auto missing = missing_here(loaded->config);
  for (const config::Finding& one : missing)
    fmt::print(stderr, "altlas: {}: {}: {}\n", name, one.path, one.what);
  if (!missing.empty()) return kExitUsage;
  if (const int64_t devices = devices_named(loaded->config); devices > 0) {
    bool wrong = false;
    for (const config::Finding& finding : config::validate_devices(loaded->config, devices)) {
      wrong = wrong || !finding.warning;
      fmt::print(stderr, "altlas: {}{}: {}: {}\n", finding.warning ? "warning: " : "", name,
                 finding.path, finding.what);
    }
    if (wrong) return kExitUsage;
  }
  if (const auto simd = check_simd(name, loaded->config.engine.simd); !simd.ok())
    return fail(simd.error());
  fmt::print("{}: valid\n", name);
  return kExitOk;
}

Run make_validate_config(CLI::App& app) {
  struct Options {
    std::string file;
    bool schema = false;
    bool not_yet = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("file", options->file, "The YAML file");
  app.add_flag("--schema", options->schema, "Print the JSON Schema of the file instead");
  app.add_flag("--not-yet", options->not_yet,
               "List the settings that nothing reads yet instead: away from its default each is an "
               "error");
  return [options] {
    if (options->not_yet) {
      for (const config::NotYet& one : config::not_yet_settings())
        fmt::print("{}: {}\n", one.path, one.instead);
      return kExitOk;
    }
    if (options->schema) {
      fmt::print("{}\n", config::json_schema());
      return kExitOk;
    }
    if (options->file.empty())
      return fail(invalid("name the file to check: altlas validate-config FILE"));
    SettingFlags flags;
    flags.config_file = options->file;
    return check_config(flags);
  };
}

}  // namespace altlas::cli
