// ReplayCheck: what the event log promises, held in every run of the simulator: the events of a
// server's life, replayed from its start and from a snapshot, give the same core.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "control/core.h"

namespace altlas::simulation {

class ReplayCheck {
 public:
  explicit ReplayCheck(control::CoreSetup setup) : setup_(std::move(setup)) {}
  // Before each event is stepped, with the core as it is then.
  void before(const control::Event& event, TimeUs now, const control::Core& core);
  // Aborts unless `core` is what both replays give.
  void compare(const control::Core& core) const;

 private:
  uint64_t replay(control::Core& core, size_t first) const;  // Returns the core's hash.

  const control::CoreSetup setup_;
  std::vector<std::pair<TimeUs, std::string>> events_;
  // The snapshot of the core before the event `snapshot_at_`; the latest one taken.
  std::string snapshot_;
  size_t snapshot_at_ = 0;
};

}  // namespace altlas::simulation
