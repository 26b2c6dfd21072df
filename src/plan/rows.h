// Predictions for measured points: CSV rows in, the same rows with predicted figures out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "plan/serving.h"

namespace altlas::plan {

// A served point as a row describes it; what was measured there is not part of it.
struct PointSpec {
  std::string model;   // As model_shape() reads it.
  std::string gpu;     // A device kind; "h100_sxm" is h100.
  std::string engine;  // As engine_model() reads it.
  std::string dtype;   // As weight_format() reads it.
  int64_t tensor = 1;
  int64_t pipeline = 1;
  int64_t replicas = 1;
  int64_t concurrency = 1;  // Over all replicas.
  int64_t input_tokens = 1;
  int64_t output_tokens = 1;
};

// Instead of an engine's own; seconds.
struct OverheadOverride {
  std::optional<double> step_s;
  std::optional<double> request_s;
};

// The device kind that a name means: "H100_SXM", "a100_sxm", "h100".
std::string device_kind_name(std::string_view gpu);

// Errors: what of the point has no model, or why it can't run, with the numbers.
Result<ServingFigures> predict_point(const PointSpec& point, const OverheadOverride& overheads);

// Reads the columns model, gpu, engine, dtype, tp, pp, dp, concurrency, isl, osl of `csv` in any
// order and no other one; empty tp, pp and dp are 1, and so is a dp of 0. `write` is given the
// header and each row as they stand, lengthened by predicted_ttft_ms, predicted_tpot_ms,
// predicted_out_tok_s and reason (why nothing is predicted). Errors: kInvalid with the line number
// for text that is no CSV, a missing or double column, a value that is no number in its range.
Result<void> predict_rows(std::string_view csv, const OverheadOverride& overheads,
                          const std::function<void(std::string_view)>& write);

}  // namespace altlas::plan
