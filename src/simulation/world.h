// World: one simulated machine with its gateway, workers, clients and faults, all decided by a
// seed.
//
// Real: control core, journal codec and SQLite (over a file system that loses what was not synced),
// worker protocol sessions, replica cores, batch scheduler, KV bookkeeping, grammars, the core that
// answers payloads. Modelled: time, links, processes, devices.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "simulation/shapes.h"

namespace altlas::simulation {

struct WorldOptions {
  uint64_t seed = 1;
  uint32_t devices = 3;
  uint32_t requests = 40;        // Submissions by the clients, batches among them.
  int64_t busy_us = 30'000'000;  // They come within this time, and so do the faults.
  bool faults = true;
};

struct WorldResult {
  uint64_t event_hash = 0;  // Of every event into the core, with its time, and of the core's state.
  uint64_t events = 0;
  uint64_t tasks = 0, completed = 0, failed = 0, canceled = 0;
  uint64_t server_crashes = 0, worker_crashes = 0, link_breaks = 0, disk_faults = 0;
  int64_t virtual_us = 0;
  ShapeCounts shapes;
  std::optional<std::string> failure;  // The promise that was broken.
};

// The same options give the same result, in any process.
WorldResult run_world(const WorldOptions& options);

}  // namespace altlas::simulation
