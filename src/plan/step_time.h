// How long one engine step of a model takes on devices, operator by operator.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "hardware/operator_models.h"
#include "hardware/parallel_layout.h"
#include "plan/model_shapes.h"

namespace altlas::plan {

// How the weights lie on the devices and what they are multiplied in.
struct WeightFormat {
  std::string_view name;
  double bytes_per_value = 2;
  MathType math = MathType::kBf16;
  double kv_bytes_per_value = 2;  // What engines choose for such a checkpoint.
};
// "bf16", "fp16", "fp8", "fp4", "int8", "int4"; a "?" behind it is dropped, empty is bf16. int8 and
// int4 are weights only: products are computed in BF16. Errors: kInvalid, naming all.
Result<WeightFormat> weight_format(std::string_view name);

// What one step carries. Tokens and sequences of one replica.
struct StepLoad {
  double prefill_sequences = 0;
  double prefill_tokens = 0;
  double prefill_pairs = 0;  // Pairs of a query and a key that it sees.
  double decode_sequences = 0;
  double decode_context = 0;  // Sum over the sequences.
  double sampled = 0;         // Rows that the head is computed for.
};

struct StepModel {
  ModelShape shape;
  DeviceModel device;
  ParallelLayout layout;
  WeightFormat weights;
};

// Seconds on the devices. Pipeline stages work on different micro-batches at once, so a step of
// `load` takes as many stage times, each over its share of the load.
double step_seconds(const StepModel& model, const StepLoad& load);

}  // namespace altlas::plan
