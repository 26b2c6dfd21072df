#include "device/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/units.h"
#include "hardware/device_kinds.h"

namespace altlas::device {
namespace {
constexpr size_t kSpecBytesMax = 4096;
constexpr uint32_t kThreadsMax = 1024;

std::vector<std::string_view> cut(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// A number in [min, max].
Result<uint32_t> number(std::string_view text, uint32_t min, uint32_t max, std::string_view what, std::string_view part) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < min || value > max)
    return invalid(fmt::format("'{}' in '{}': the {} is a number from {} to {}", text, part, what, min, max), "devices");
  return value;
}

Result<void> add_cpu(std::string_view part, const std::vector<std::string_view>& words, const Machine& machine,
                     uint32_t& cpu_next, std::vector<DeviceSpec>& out) {
  if (words.size() > 4) return invalid(fmt::format("'{}': write cpu:COUNT:THREADS:MEMORY", part), "devices");
  uint32_t count = 1;
  if (words.size() > 1) {
    ALTLAS_TRY(count, number(words[1], 1, kDevicesMax, "count", part));
  }
  std::optional<uint32_t> threads;
  if (words.size() > 2) {
    ALTLAS_TRY(threads, number(words[2], 1, kThreadsMax, "thread count", part));
  }
  uint64_t memory = machine.memory_total / 10 * 9 / count;
  if (words.size() > 3) {
    ALTLAS_TRY(memory, parse_bytes(words[3]));
    if (memory == 0) return invalid(fmt::format("'{}': the memory is more than 0", part), "devices");
  }
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t even = machine.cores * (i + 1) / count - machine.cores * i / count;
    DeviceSpec spec{.kind = DeviceKind::kCpu, .name = "cpu", .memory_bytes = memory};
    spec.threads = threads.value_or(std::max(1u, even));
    spec.cpu_first = cpu_next % machine.cores;
    cpu_next += spec.threads;
    out.push_back(spec);
  }
  return {};
}

Result<void> add_cuda(std::string_view part, const std::vector<std::string_view>& words, const Machine& machine,
                      std::vector<DeviceSpec>& out) {
  if (words.size() > 2) return invalid(fmt::format("'{}': write cuda or cuda:0,2", part), "devices");
  if (machine.cuda_count == 0)
    return not_found(fmt::format("'{}': no CUDA GPU is here: use cpu, or sim:KIND:COUNT", part));
  if (words.size() == 1) {
    for (uint32_t i = 0; i < machine.cuda_count; ++i)
      out.push_back({.kind = DeviceKind::kCuda, .name = "cuda", .cuda_index = i});
    return {};
  }
  for (const std::string_view word : cut(words[1], ',')) {
    ALTLAS_TRY(const uint32_t index, number(word, 0, machine.cuda_count - 1, "index", part));
    out.push_back({.kind = DeviceKind::kCuda, .name = "cuda", .cuda_index = index});
  }
  return {};
}

Result<void> add_sim(std::string_view part, const std::vector<std::string_view>& words, std::vector<DeviceSpec>& out) {
  if (words.size() < 2 || words.size() > 3)
    return invalid(fmt::format("'{}': write sim:KIND or sim:KIND:COUNT, as in sim:h100:8", part), "devices");
  ALTLAS_TRY(const DeviceKindInfo kind, device_kind(words[1]));
  uint32_t count = 1;
  if (words.size() == 3) {
    ALTLAS_TRY(count, number(words[2], 1, kDevicesMax, "count", part));
  }
  for (uint32_t i = 0; i < count; ++i)
    out.push_back({.kind = DeviceKind::kSim, .name = std::string(kind.name), .memory_bytes = kind.memory_bytes});
  return {};
}
}  // namespace

Result<std::vector<DeviceSpec>> parse_device_spec(std::string_view text, const Machine& machine) {
  if (text.size() > kSpecBytesMax) return invalid("the device list has more than 4096 characters", "devices");
  std::vector<DeviceSpec> out;
  uint32_t cpu_next = 0;
  for (const std::string_view part : cut(text, '+')) {
    const auto words = cut(part, ':');
    if (words[0] == "cpu") {
      ALTLAS_TRY_VOID(add_cpu(part, words, machine, cpu_next, out));
    } else if (words[0] == "cuda") {
      ALTLAS_TRY_VOID(add_cuda(part, words, machine, out));
    } else if (words[0] == "sim") {
      ALTLAS_TRY_VOID(add_sim(part, words, out));
    } else {
      return not_found(fmt::format("'{}' is not a device: use cpu, cuda or sim:KIND, joined by '+'", part));
    }
    if (out.size() > kDevicesMax) return invalid(fmt::format("more than {} devices", kDevicesMax), "devices");
  }
  return out;
}

std::string to_string(const DeviceSpec& spec) {
  switch (spec.kind) {
    case DeviceKind::kCpu: return fmt::format("cpu:1:{}:{}", spec.threads, spec.memory_bytes);
    case DeviceKind::kCuda: return fmt::format("cuda:{}", spec.cuda_index);
    case DeviceKind::kSim: return fmt::format("sim:{}:1", spec.name);
  }
  return "";
}

}  // namespace altlas::device
