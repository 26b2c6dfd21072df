#include "cli/missing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/model_checks.h"
#include "cli/setup.h"
#include "cli/terminal.h"
#include "config/device_spec.h"
#include "device/cuda/nvml.h"
#include "weights/model_source.h"

namespace altlas::cli {
namespace {

bool names_cuda(const config::Config& config) {
  const auto spec = config::parse_device_list(config.engine.devices);
  return spec.ok() && std::ranges::any_of(spec->parts, [](const config::DevicePart& part) {
           return part.kind == config::DevicePart::Kind::kCuda;
         });
}

}  // namespace

std::vector<config::Finding> missing_here(const config::Config& config) {
  std::vector<config::Finding> out;
  if (names_cuda(config))
    out.push_back({"engine.devices",
                   fmt::format("'{}': this build computes on cpu and sim, not on cuda (`altlas "
                               "doctor` lists the GPUs): write cpu, or sim:h100:8 to try it out",
                               config.engine.devices)});
  const weights::ModelFolders folders = model_folders();
  const auto check = [&](const std::string& path, const std::string& model) {
    const auto source = weights::resolve_model(model, folders);
    if (!source.ok()) out.push_back({path, source.error().message()});
  };
  for (size_t i = 0; i < config.models.size(); ++i)
    if (!config.models[i].path.empty())
      check(fmt::format("models[{}].path", i), config.models[i].path);
  for (size_t i = 0; i < config.deployments.size(); ++i) {
    const config::DeploymentConfig& one = config.deployments[i];
    if (!one.model.empty() && find_model(config, one.model) == nullptr)
      check(fmt::format("deployments[{}].model", i), one.model);
  }
  return out;
}

std::string unused_gpus(const config::Config& config) {
  if (!config.gpu.enabled || !config.engine.devices.empty()) return "";
  const device::GpuInventory inventory = device::nvml_inventory();
  if (inventory.gpus.empty()) return "";
  std::vector<std::string> names;
  for (const device::GpuFacts& gpu : inventory.gpus)
    if (std::ranges::find(names, gpu.name) == names.end()) names.push_back(gpu.name);
  const size_t count = inventory.gpus.size();
  return fmt::format(
      "{} GPU{} ({}) {} left alone: this build computes on cpu and sim only, so the CPU "
      "is taken; --devices cpu or gpu.enabled: false ends this notice",
      count, count == 1 ? "" : "s", printable(fmt::format("{}", fmt::join(names, ", "))),
      count == 1 ? "is" : "are");
}

}  // namespace altlas::cli
