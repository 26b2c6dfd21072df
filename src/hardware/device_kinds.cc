#include "hardware/device_kinds.h"

#include <algorithm>
#include <string>

namespace altlas {
namespace {
// Peaks are dense figures of the vendor's data sheets; prices are list prices per device of a
// cloud's on-demand machine (A100: 32 USD / 8, as the product's source document has it; its spot
// machines cost 8 to 12 USD, so spot is 10/32 of the on-demand price where no other is known).
// clang-format off
constexpr DeviceKindInfo kKinds[] = {
    // name       memory               bytes/s   bf16     int8     launch link  max  idle USD/h
    // spot, fp8, fp4, devices per node
    {"a100-40gb", uint64_t{40} << 30, 1.555e12, 312e12, 624e12, 4e-6, 300e9, 400, 55, 4.0, 1.25},  // A100 data sheet
    {"a100-80gb", uint64_t{80} << 30, 2.039e12, 312e12, 624e12, 4e-6, 300e9, 400, 60, 4.0, 1.25},  // A100 data sheet
    {"h100", uint64_t{80} << 30, 3.35e12, 989e12, 1979e12, 3e-6, 450e9, 700, 70, 8.0, 2.5, 1979e12},  // H100 SXM data sheet
    {"h200", uint64_t{141} << 30, 4.8e12, 989e12, 1979e12, 3e-6, 450e9, 700, 75, 10.0, 3.12, 1979e12},  // H200 SXM data sheet
    {"b200", uint64_t{180} << 30, 8.0e12, 2250e12, 4500e12, 3e-6, 900e9, 1000, 140, 14.0, 4.38, 4500e12, 9000e12},  // DGX B200 data sheet
    {"gb200", uint64_t{186} << 30, 8.0e12, 2500e12, 5000e12, 3e-6, 900e9, 1200, 150, 16.0, 5.0, 5000e12, 10000e12, 72},  // GB200 NVL72 data sheet
    {"l40s", uint64_t{48} << 30, 0.864e12, 362e12, 733e12, 4e-6, 32e9, 350, 35, 1.9, 0.6, 733e12},  // L40S data sheet
    {"l4", uint64_t{24} << 30, 0.3e12, 121e12, 242e12, 4e-6, 16e9, 72, 16, 0.8, 0.25, 242e12},  // L4 data sheet
    {"a10g", uint64_t{24} << 30, 0.6e12, 70e12, 140e12, 4e-6, 16e9, 300, 20, 1.4, 0.44, 0, 0, 4},  // AWS g5, 4 for 5.67 USD
    {"cpu", uint64_t{16} << 30, 35e9, 0.4e12, 1.1e12, 0, 10e9, 100, 30, 0.1, 0.03, 0, 0, 2},  // Two server cores, measured
};
// clang-format on
}  // namespace

std::span<const DeviceKindInfo> device_kinds() { return kKinds; }

Result<DeviceKindInfo> device_kind(std::string_view name) {
  const auto* found = std::ranges::find(kKinds, name, &DeviceKindInfo::name);
  if (found != std::end(kKinds)) return *found;
  std::string known;
  for (const auto& kind : kKinds) known += (known.empty() ? "" : ", ") + std::string(kind.name);
  return not_found("'" + std::string(name) + "' is not a simulated device kind: use one of " +
                   known);
}

double roofline_seconds(const DeviceKindInfo& kind, const OperatorCost& cost, double efficiency) {
  const double compute = cost.flops / (kind.bf16_flops * efficiency);
  const double memory = cost.bytes / (kind.memory_bytes_per_s * efficiency);
  return std::max(compute, memory) + cost.launches * kind.launch_s;
}
}  // namespace altlas
