// altlas simulate: seeds, the server's decisions in virtual time, with faults. Each seed is a world
// of its own.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/simulate_autoscaler.h"
#include "cli/terminal.h"
#include "simulation/world.h"

namespace altlas::cli {
namespace {

struct SimulateOptions {
  uint64_t first = 1;
  uint64_t count = 100;
  bool no_faults = false;
  simulation::WorldOptions world;
  std::string config, trace;  // Files that the autoscaler reads.
};

struct Sums {
  simulation::WorldResult all;
  std::vector<std::pair<uint64_t, std::string>> failures;
};

constexpr size_t kFailuresShownMax = 20;

void add(uint64_t seed, const simulation::WorldResult& one, Sums& sums) {
  simulation::WorldResult& all = sums.all;
  all.event_hash ^= one.event_hash;
  all.events += one.events;
  all.tasks += one.tasks;
  all.completed += one.completed;
  all.failed += one.failed;
  all.canceled += one.canceled;
  all.server_crashes += one.server_crashes;
  all.worker_crashes += one.worker_crashes;
  all.link_breaks += one.link_breaks;
  all.disk_faults += one.disk_faults;
  all.virtual_us += one.virtual_us;
  simulation::add(all.shapes, one.shapes);
  if (one.failure) sums.failures.emplace_back(seed, *one.failure);
}

void print(const SimulateOptions& options, const Sums& sums, double seconds) {
  const simulation::WorldResult& all = sums.all;
  Table table({"SEEDS", "FAILED", "EVENTS", "TASKS", "COMPLETED", "FAILED TASKS", "CANCELED",
               "SERVER CRASHES", "WORKER CRASHES", "LINK BREAKS", "DISK FAULTS", "VIRTUAL",
               "REAL"});
  table.add({fmt::format("{}", options.count), fmt::format("{}", sums.failures.size()),
             fmt::format("{}", all.events), fmt::format("{}", all.tasks),
             fmt::format("{}", all.completed), fmt::format("{}", all.failed),
             fmt::format("{}", all.canceled), fmt::format("{}", all.server_crashes),
             fmt::format("{}", all.worker_crashes), fmt::format("{}", all.link_breaks),
             fmt::format("{}", all.disk_faults),
             fmt::format("{:.0f} s", static_cast<double>(all.virtual_us) / kSecond),
             fmt::format("{:.1f} s", seconds)});
  table.print();
  std::string shapes;
  simulation::ShapeCounts::fields([&](const char* name, auto member) {
    shapes += fmt::format("{}{} {}", shapes.empty() ? "" : ", ", name, all.shapes.*member);
  });
  fmt::print("shapes: {}\n", shapes);
  fmt::print("event hash {:016x}\n", all.event_hash);
  for (size_t i = 0; i < sums.failures.size() && i < kFailuresShownMax; ++i) {
    const auto& [seed, why] = sums.failures[i];
    fmt::print(
        "seed {} failed: {}\n  again: altlas simulate seeds --first {} --count 1 --devices {} "
        "--requests {}{}\n",
        seed, printable(why, 600), seed, options.world.devices, options.world.requests,
        options.no_faults ? " --no-faults" : "");
  }
  if (sums.failures.size() > kFailuresShownMax)
    fmt::print("and {} more\n", sums.failures.size() - kFailuresShownMax);
}

int run_seeds(const SimulateOptions& options) {
  ProgressBar bar("simulate");
  Sums sums;
  const TimeUs started = system_clock().now();
  for (uint64_t i = 0; i < options.count; ++i) {
    simulation::WorldOptions world = options.world;
    world.seed = options.first + i;
    world.faults = !options.no_faults;
    add(world.seed, simulation::run_world(world), sums);
    bar.update_fraction("seeds", static_cast<double>(i + 1) / static_cast<double>(options.count));
  }
  bar.finish();
  print(options, sums, static_cast<double>(system_clock().now() - started) / kSecond);
  return sums.failures.empty() ? kExitOk : kExitFailed;
}

}  // namespace

Run make_simulate(CLI::App& app) {
  auto options = std::make_shared<SimulateOptions>();
  app.require_subcommand(1);
  CLI::App* seeds = app.add_subcommand("seeds", "Check the server's promises for many seeds");
  seeds->add_option("--first,--seed", options->first, "The first seed")->capture_default_str();
  seeds->add_option("--count", options->count, "How many seeds")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000}))
      ->capture_default_str();
  seeds->add_option("--devices", options->world.devices, "Devices of the simulated machine")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  seeds->add_option("--requests", options->world.requests, "Requests by its clients")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  seeds->add_flag("--no-faults", options->no_faults, "Nothing breaks");
  CLI::App* autoscaler = app.add_subcommand(
      "autoscaler", "Decide over a recorded load how many replicas there should be");
  autoscaler->add_option("--config", options->config, "YAML file with one autoscaling_config")
      ->required();
  autoscaler
      ->add_option("--trace", options->trace,
                   R"(File of lines {"t": seconds, "ongoing": requests, "running": replicas})")
      ->required();
  return [options, autoscaler] {
    if (!autoscaler->parsed()) return run_seeds(*options);
    const auto done = simulate_autoscaler(options->config, options->trace);
    return done.ok() ? static_cast<int>(kExitOk) : fail(done.error());
  };
}

}  // namespace altlas::cli
