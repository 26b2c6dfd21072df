// altlas pull and altlas models.
#include "weights/pull.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/clock.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/setup.h"
#include "cli/terminal.h"

namespace altlas::cli {

Result<std::string> pull_with_progress(const weights::CatalogueEntry& entry,
                                       const std::string& cache) {
  if (weights::is_cached(entry, cache)) return weights::cached_path(entry, cache);
  ProgressBar bar(entry.name);
  weights::PullOptions options;
  options.progress = [&bar](const weights::PullProgress& progress) {
    bar.update(weights::to_string(progress.stage), progress.bytes_done, progress.bytes_total);
  };
  auto path = weights::pull(entry, cache, options);
  bar.finish();
  return path;
}

Run make_pull(CLI::App& app) {
  auto name = std::make_shared<std::string>(std::string(weights::kDefaultModel));
  app.add_option("name", *name, "A name that `altlas models` lists")->capture_default_str();
  return [name] {
    const auto entry = weights::catalogue_entry(*name);
    if (!entry.ok()) return fail(entry.error());
    const auto path = pull_with_progress(*entry, model_folders().cache);
    if (!path.ok()) return fail(path.error());
    fmt::print("{}\n", *path);
    return kExitOk;
  };
}

Run make_models(CLI::App&) {
  return [] {
    Table table({"NAME", "SIZE", "FROM", "HERE", "PATH"});
    for (const weights::ModelSource& model : weights::list_models(model_folders()))
      table.add({model.name, format_bytes(model.bytes), std::string(to_string(model.origin)),
                 model.present ? "yes" : "no",
                 model.present ? model.path : "altlas pull " + model.name});
    table.print();
    return kExitOk;
  };
}

}  // namespace altlas::cli
