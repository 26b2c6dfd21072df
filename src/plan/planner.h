// Which of data, tensor, pipeline and expert parallelism a model needs on devices, by four rules,
// and what every layout that the devices allow would give.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/serving.h"

namespace altlas::plan {

struct PlanRequest {
  ModelShape shape;
  WeightFormat weights;
  DeviceModel device;
  int32_t devices = 1;
  EngineModel engine;
  ServingLoad load;  // Over all replicas.
  // 0: the rules choose.
  int32_t tensor = 0;
  int32_t pipeline = 0;
  int32_t expert = 0;
};

enum class Rule : uint8_t { kData, kTensor, kTensorPipeline, kExpert, kGiven };

struct Alternative {
  ParallelLayout layout;
  int32_t replicas = 1;
  MemoryPlan memory;
  std::optional<ServingFigures> figures;
  std::string reason;  // Why there are no figures.
  double usd_per_hour = 0;
  double spot_usd_per_hour = 0;
  double usd_per_million = 0;  // Output tokens; 0 without figures.
  double spot_usd_per_million = 0;

  int32_t devices() const { return layout.ranks() * replicas; }
};

struct Plan {
  Rule rule = Rule::kData;
  std::string decided;  // "needs 2–4 → TP 4, two replicas".
  // The fewest devices that hold the model with room for KV; one more than there are, where only a
  // given layout does.
  int32_t needed = 1;
  size_t chosen = 0;  // Index of `alternatives`.
  // By tensor, then pipeline ranks; a given layout that is none of these stands before them.
  std::vector<Alternative> alternatives;
};

// Below this share of a device's budget a replica's KV holds too few sequences to be worth it: such
// a layout does not count as one that holds the model.
inline constexpr double kKvShareMin = 0.1;

// Errors: kInvalid for a given layout that cannot be, or where nothing fits, with the numbers and
// the nearest layout that works.
Result<Plan> make_plan(const PlanRequest& request);

// "TP4 x PP2", "TP8 EP8", "one device".
std::string layout_name(const ParallelLayout& layout);

}  // namespace altlas::plan
