#include "device/spec.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/device_spec.h"
#include "hardware/device_kinds.h"

namespace altlas::device {
namespace {
using config::DevicePart;

void add_cpu(const DevicePart& part, const MachineFacts& machine, uint32_t& cpu_next,
             std::vector<DeviceSpec>& out) {
  const auto count = static_cast<uint32_t>(part.count);
  const uint64_t memory =
      part.memory_bytes != 0 ? part.memory_bytes : machine.memory_total / 10 * 9 / count;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t even = machine.cores * (i + 1) / count - machine.cores * i / count;
    DeviceSpec spec{.kind = DeviceKind::kCpu, .name = "cpu", .memory_bytes = memory};
    spec.threads = part.threads != 0 ? static_cast<uint32_t>(part.threads) : std::max(1u, even);
    spec.cpu_first = cpu_next % machine.cores;
    cpu_next += spec.threads;
    out.push_back(spec);
  }
}

Result<void> add_cuda(const DevicePart& part, const MachineFacts& machine,
                      std::vector<DeviceSpec>& out) {
  if (machine.cuda_count == 0)
    return not_found("'cuda': no CUDA GPU is here: use cpu, or sim:KIND:COUNT");
  if (part.indices.empty()) {
    for (uint32_t i = 0; i < machine.cuda_count; ++i)
      out.push_back({.kind = DeviceKind::kCuda, .name = "cuda", .cuda_index = i});
  }
  for (const int64_t index : part.indices) {
    if (index >= machine.cuda_count)
      return not_found(
          fmt::format("'cuda:{}': there are GPUs 0 to {}", index, machine.cuda_count - 1));
    out.push_back(
        {.kind = DeviceKind::kCuda, .name = "cuda", .cuda_index = static_cast<uint32_t>(index)});
  }
  return {};
}

Result<void> add_sim(const DevicePart& part, std::vector<DeviceSpec>& out) {
  ALTLAS_TRY(const DeviceKindInfo kind, device_kind(part.sim_kind));
  for (int64_t i = 0; i < part.count; ++i)
    out.push_back({.kind = DeviceKind::kSim,
                   .name = std::string(kind.name),
                   .memory_bytes = kind.memory_bytes});
  return {};
}

Result<std::vector<DeviceSpec>> expand(const config::DeviceList& parsed,
                                       const MachineFacts& machine) {
  std::vector<DeviceSpec> out;
  uint32_t cpu_next = 0;
  for (const DevicePart& part : parsed.parts) {
    switch (part.kind) {
      case DevicePart::Kind::kCpu:
        add_cpu(part, machine, cpu_next, out);
        break;
      case DevicePart::Kind::kCuda:
        ALTLAS_TRY_VOID(add_cuda(part, machine, out));
        break;
      case DevicePart::Kind::kSim:
        ALTLAS_TRY_VOID(add_sim(part, out));
        break;
    }
    if (std::ssize(out) > config::kDevicesMax)
      return invalid(fmt::format("more than {} devices", config::kDevicesMax));
  }
  return out;
}
}  // namespace

Result<std::vector<DeviceSpec>> parse_device_spec(std::string_view text,
                                                  const MachineFacts& machine) {
  ALTLAS_TRY(const config::DeviceList parsed, config::parse_device_list(text));
  auto specs = expand(parsed, machine);
  if (!specs.ok()) return Error(specs.error()).with_field("devices");
  return specs;
}

std::string to_string(const DeviceSpec& spec) {
  switch (spec.kind) {
    case DeviceKind::kCpu:
      return fmt::format("cpu:1:{}:{}", spec.threads, spec.memory_bytes);
    case DeviceKind::kCuda:
      return fmt::format("cuda:{}", spec.cuda_index);
    case DeviceKind::kSim:
      return fmt::format("sim:{}:1", spec.name);
  }
  return "";
}

}  // namespace altlas::device
