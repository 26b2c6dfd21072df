// Scenario: what a seed decides before the first event: devices, deployments, limits, models.
#pragma once

#include <cstdint>
#include <vector>

#include "base/philox.h"
#include "control/core_setup.h"
#include "engine/sim_model.h"
#include "simulation/checkers.h"
#include "simulation/world.h"

namespace altlas::simulation {

inline constexpr uint32_t kVocabulary = 97;
inline constexpr uint32_t kModelLenMax = 160;  // Tokens.

struct Scenario {
  control::CoreSetup setup;
  std::vector<std::vector<engine::SimOptions>> models;  // [deployment][device].
};

// Devices so small that queues, preemption and memory limits bite.
Scenario make_scenario(const WorldOptions& options, PhiloxStream& random);

// Runs a task alone, on a device that has room for it; remembers its text.
ExpectedText make_expected_text();

}  // namespace altlas::simulation
