// What `altlas plan` reads: a model's shape, the devices, a file of rows.
#pragma once

#include <string>

#include "base/result.h"
#include "hardware/operator_models.h"
#include "plan/step_time.h"

namespace altlas::cli {

// A file of rows is read whole.
inline constexpr uint64_t kRowsBytesMax = uint64_t{1} << 30;

struct PlanModel {
  plan::ModelShape shape;
  plan::WeightFormat weights;
};
// name: a published name, a GGUF file, a model's folder, or a config.json. dtype: as
// plan::weight_format() reads it; "auto" is the files' own width, else bf16.
Result<PlanModel> read_plan_model(const std::string& name, const std::string& dtype);

struct PlanDevices {
  DeviceModel model;
  int32_t count = 1;
};
// spec: "sim:a100-80gb:8"; "sim:" and the count may be left out. Errors: kInvalid for several kinds
// at once, kNotFound for a kind without a model.
Result<PlanDevices> read_plan_devices(std::string_view spec);

// The whole file; "/dev/stdin" too. Errors: kNotFound, kInvalid for one above kRowsBytesMax.
Result<std::string> read_rows_file(const std::string& path);

}  // namespace altlas::cli
