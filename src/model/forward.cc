#include "model/forward.h"

#include <fmt/format.h>

#include "model/cpu_forward.h"

namespace altlas::model {

Result<std::unique_ptr<Forward>> load_forward(const ModelFile& file, RankPlan& plan,
                                              const LoadOptions& options, device::Device& device) {
  if (device.kind() == device::DeviceKind::kCpu)
    return CpuForward::load(file, plan, options, device);
  return Error(ErrorCode::kUnsupported,
               fmt::format("models can't be computed on devices of kind {} in this build; use cpu",
                           device::to_string(device.kind())));
}

}  // namespace altlas::model
