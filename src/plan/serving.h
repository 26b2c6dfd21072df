// What clients see of a replica: time to the first token, time per token, tokens per second.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "plan/engines.h"
#include "plan/step_time.h"

namespace altlas::plan {

// A closed loop: each of `concurrency` clients sends its next request when its last is answered.
struct ServingLoad {
  int32_t concurrency = 1;
  int32_t input_tokens = 0;
  int32_t output_tokens = 0;
  // Lengths are spread evenly from this share of the above to all of it.
  double length_share_min = 1;
};

struct ServingFigures {
  double ttft_ms = 0;  // Mean.
  double tpot_ms = 0;  // Mean time of an output token after the first.
  double output_tokens_per_s = 0;
};

// Bytes on each device.
struct MemoryPlan {
  double weights = 0;
  double activations = 0;
  double budget = 0;  // Bytes of the device that the engine may use.
  // Bytes of one sequence's token on the device that holds most of it.
  double kv_per_token = 0;
  double kv_tokens = 0;  // That fit; negative: the weights alone do not.
};
// The type of the KV cache that the engine chooses: TensorRT-LLM the one that FP8 and FP4
// checkpoints name, vLLM that one on devices with FP4 (where its recipes say so), else BF16.
double kv_bytes_per_value(const StepModel& model, const EngineModel& engine);
MemoryPlan memory_plan(const StepModel& model, const EngineModel& engine);

// Runs the closed loop in virtual time, from all clients' first requests on. Deterministic.
// Errors: kInvalid where the model or one request does not fit the devices' memory, with the
// numbers.
Result<ServingFigures> predict_serving(const StepModel& model, const EngineModel& engine,
                                       const ServingLoad& load);

}  // namespace altlas::plan
