// Where a task goes: the model that is to answer, the device, the priority, and who asks. Every
// route that makes tasks reads it here.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/fields.h"
#include "base/ids.h"
#include "base/result.h"
#include "server/body/field.h"

namespace altlas::server {

struct PendingTask;
struct Request;
struct Services;

// The field by which a request names its model.
inline constexpr BodyField kModelField{
    .help =
        "Id or deployment of a model, or the name of an adapter; without it the model that "
        "takes tasks of the type"};
// The field by which requests to OpenAI's routes give their priority.
inline constexpr BodyField kPriorityLevelField{.help = "A number as vLLM has it: lower is earlier",
                                               .levels = true};

struct GpuOptions {
  std::optional<Strategy> strategy;
  std::optional<DeviceId> specific_gpu_id;
  std::optional<bool> batch_split;

  static constexpr void fields(auto&& field) {
    using S = GpuOptions;
    field("strategy", &S::strategy,
          BodyField{.help = "How a device is chosen; one of gpu.multi_gpu.strategies"});
    field("specific_gpu_id", &S::specific_gpu_id, BodyField{.help = "The device itself"});
    field("batch_split", &S::batch_split,
          BodyField{.help = "Of a batch: whether its items may go to several devices"});
  }
};
static_assert(fields_complete<GpuOptions>(), "describe every member in fields()");
inline constexpr BodyField kGpuOptionsField{.shared = "GpuOptions"};

struct TargetFields {
  std::string model;
  std::optional<GpuOptions> gpu_options;

  static constexpr void fields(auto&& field) {
    using S = TargetFields;
    field("model", &S::model, kModelField);
    field("gpu_options", &S::gpu_options, kGpuOptionsField);
  }
};
static_assert(fields_complete<TargetFields>(), "describe every member in fields()");

// Puts the target into the task's spec and model. `type` is the task's; without a `priority` the
// configured one holds, and what a batch sends is always low.  Errors: kNotFound, field "model";
// kInvalid, field "model", for a model that does not generate text, or gives no embeddings, where
// the type needs it.
Result<void> read_target(const TargetFields& fields, std::optional<Priority> priority,
                         std::string_view type, const Request& request, const Services& services,
                         PendingTask& task);

}  // namespace altlas::server
