// Scenario: what a seed decides before the first event: devices, deployments, limits, models.
#pragma once

#include <cstdint>
#include <vector>

#include "base/philox.h"
#include "control/core_setup.h"
#include "engine/sim_model.h"
#include "simulation/checkers.h"
#include "simulation/shapes.h"
#include "simulation/world.h"

namespace altlas::simulation {

inline constexpr uint32_t kVocabulary = 97;
inline constexpr uint32_t kModelLenMax = 160;    // Tokens.
inline constexpr size_t kEncoderTokensMax = 64;  // Of a prompt, where a deployment only embeds.

// What a deployment's replicas answer.
enum class Answers : uint8_t { kTexts, kEmbeddings, kPayloads };

struct Scenario {
  Shapes shapes;
  control::CoreSetup setup;
  std::vector<Answers> answers;                         // [deployment].
  std::vector<std::vector<engine::SimOptions>> models;  // [deployment][device]; kPayloads has none.
};

// Devices so small that queues, preemption and memory limits bite.
Scenario make_scenario(const WorldOptions& options, PhiloxStream& random);

// What a payload is answered with: a function of the payload alone.
Result<std::string> answer_payload(const std::string& payload);

// Runs a task alone, on a device that has room for it; remembers what it gives.
ExpectedResult make_expected(const Shapes& shapes);

}  // namespace altlas::simulation
