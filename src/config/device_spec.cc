#include "config/device_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/units.h"
#include "config/names.h"

namespace altlas::config {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Error wrong(std::string_view part, std::string what) {
  return invalid(fmt::format("in device '{}': {}", part.substr(0, 64), what));
}

Result<int64_t> whole(std::string_view part, std::string_view text, std::string_view name,
                      int64_t min, int64_t max) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < min || value > max) {
    return wrong(part, fmt::format("the {} '{}' is not a whole number from {} to {}", name,
                                   text.substr(0, 64), min, max));
  }
  return value;
}

Result<DevicePart> parse_cpu(std::string_view part, const std::vector<std::string_view>& fields) {
  DevicePart out{.kind = DevicePart::Kind::kCpu};
  if (fields.size() > 4)
    return wrong(
        part, "too many ':'; write cpu, cpu:COUNT, or cpu:COUNT:THREADS:MEMORY as in cpu:2:1:4GiB");
  if (fields.size() > 1) {
    ALTLAS_TRY(out.count, whole(part, fields[1], "count", 1, kDevicesMax));
  }
  if (fields.size() > 2) {
    ALTLAS_TRY(out.threads, whole(part, fields[2], "number of threads", 1, kThreadsPerDeviceMax));
  }
  if (fields.size() > 3) {
    const Result<uint64_t> bytes = parse_bytes(fields[3].substr(0, 64));
    if (!bytes.ok()) return wrong(part, "the memory " + bytes.error().message());
    if (*bytes < kMiB)
      return wrong(part, fmt::format("the memory '{}' is less than 1MiB", fields[3]));
    out.memory_bytes = *bytes;
  }
  return out;
}

Result<DevicePart> parse_cuda(std::string_view part, const std::vector<std::string_view>& fields) {
  DevicePart out{.kind = DevicePart::Kind::kCuda};
  if (fields.size() > 2)
    return wrong(part, "too many ':'; write cuda for every GPU, or cuda:0,2 for some");
  if (fields.size() < 2) return out;
  for (const std::string_view index : split(fields[1], ',')) {
    ALTLAS_TRY(const int64_t value, whole(part, index, "GPU index", 0, kDevicesMax - 1));
    if (std::ranges::find(out.indices, value) != out.indices.end()) {
      return wrong(part, fmt::format("GPU {} is named twice", value));
    }
    out.indices.push_back(value);
  }
  out.count = static_cast<int64_t>(out.indices.size());
  return out;
}

Result<DevicePart> parse_sim(std::string_view part, const std::vector<std::string_view>& fields) {
  DevicePart out{.kind = DevicePart::Kind::kSim};
  if (fields.size() < 2 || fields[1].empty())
    return wrong(part,
                 "the kind is missing; write sim:KIND or sim:KIND:COUNT as in sim:a100-80gb:8");
  if (fields.size() > 3)
    return wrong(part, "too many ':'; write sim:KIND or sim:KIND:COUNT as in sim:a100-80gb:8");
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (!std::ranges::all_of(fields[1], plain))
    return wrong(part, "a kind has letters, digits, '-', '_' and '.' only, as in a100-80gb");
  out.sim_kind = fields[1];
  if (fields.size() > 2) {
    ALTLAS_TRY(out.count, whole(part, fields[2], "count", 1, kDevicesMax));
  }
  return out;
}

Result<DevicePart> parse_part(std::string_view part) {
  const std::vector<std::string_view> fields = split(part, ':');
  if (fields[0] == "cpu") return parse_cpu(part, fields);
  if (fields[0] == "cuda") return parse_cuda(part, fields);
  if (fields[0] == "sim") return parse_sim(part, fields);
  if (part.empty())
    return invalid(
        "a device is missing between two '+', or nothing is written; write cpu, cuda or sim:KIND");
  static constexpr std::string_view kKinds[] = {"cpu", "cuda", "sim"};
  const std::string_view near = nearest_name(fields[0], kKinds);
  return wrong(part, fmt::format("'{}' is not one of cpu, cuda, sim{}", fields[0].substr(0, 64),
                                 near.empty() ? "" : fmt::format(" (did you mean {}?)", near)));
}

}  // namespace

Result<DeviceList> parse_device_list(std::string_view text) {
  if (text.size() > kDeviceSpecBytesMax) {
    return invalid(fmt::format("the devices have {} characters, at most {} are read", text.size(),
                               kDeviceSpecBytesMax));
  }
  DeviceList spec;
  int64_t total = 0;
  bool cuda = false;
  for (const std::string_view part : split(text, '+')) {
    ALTLAS_TRY(DevicePart parsed, parse_part(part));
    if (parsed.kind == DevicePart::Kind::kCuda) {
      if (cuda)
        return wrong(part, "cuda is there already; name all GPUs in one part, as in cuda:0,2");
      cuda = true;
    }
    total += parsed.count;
    if (total > kDevicesMax)
      return wrong(part, fmt::format("these are more than {} devices in all", kDevicesMax));
    spec.parts.push_back(std::move(parsed));
  }
  return spec;
}

std::string to_string(const DeviceList& spec) {
  std::string out;
  for (const DevicePart& part : spec.parts) {
    if (!out.empty()) out += '+';
    switch (part.kind) {
      case DevicePart::Kind::kCpu:
        out += "cpu";
        if (part.count != 1 || part.threads != 0) out += fmt::format(":{}", part.count);
        if (part.threads != 0) out += fmt::format(":{}", part.threads);
        if (part.memory_bytes != 0) out += fmt::format(":{}", part.memory_bytes);
        break;
      case DevicePart::Kind::kCuda:
        out += "cuda";
        for (size_t i = 0; i < part.indices.size(); ++i)
          out += fmt::format("{}{}", i == 0 ? ':' : ',', part.indices[i]);
        break;
      case DevicePart::Kind::kSim:
        out += "sim:" + part.sim_kind;
        if (part.count != 1) out += fmt::format(":{}", part.count);
    }
  }
  return out;
}

}  // namespace altlas::config
