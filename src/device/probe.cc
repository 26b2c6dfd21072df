#include "device/probe.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "base/integers.h"
#include "base/strings.h"
#include "device/cgroup.h"
#include "device/cuda/nvml.h"

namespace altlas::device {
namespace {
constexpr size_t kFileBytesMax = 1 << 20;

uint32_t affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return static_cast<uint32_t>(std::max(1, CPU_COUNT(&set)));
}
}  // namespace

std::string read_small_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(0, file.gcount())));
  return text;
}

bool leading_number(std::string_view text, uint64_t& value) {
  text = trim_begin(text, " \t");
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc();
}

std::string_view line_after(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (line.starts_with(key)) return line.substr(key.size());
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return {};
}

uint64_t meminfo_bytes(std::string_view meminfo, std::string_view key) {
  std::string_view rest = line_after(meminfo, key);
  uint64_t kib = 0;
  if (!rest.starts_with(':') || !leading_number(rest.substr(1), kib)) return 0;
  return kib << 10;
}

uint64_t cgroup_memory_limit(std::string_view text) {
  uint64_t bytes = 0;
  if (!leading_number(text, bytes)) return 0;     // "max" means no limit.
  return bytes >= uint64_t{1} << 60 ? 0 : bytes;  // Version 1 writes a huge number for no limit.
}

uint32_t cgroup_cpu_limit(std::string_view text) {
  uint64_t quota = 0, period = 0;
  const size_t space = text.find(' ');
  if (space == std::string_view::npos || !leading_number(text.substr(0, space), quota) ||
      !leading_number(text.substr(space), period) || period == 0)
    return 0;
  return static_cast<uint32_t>(std::clamp<uint64_t>(ceil_div(quota, period), 1, 65536));
}

MachineFacts probe_machine(const std::string& root) {
  MachineFacts machine;
  // The number is kept: a leader that is pinned later must not shrink the machine.
  static const uint32_t cores = affinity_cores();
  machine.cores = cores;
  const CgroupLimits limits = read_cgroup_limits(root);
  if (limits.cores != 0) machine.cores = std::min(cores, limits.cores);
  const std::string meminfo = read_small_file(root + "/proc/meminfo");
  machine.memory_total = meminfo_bytes(meminfo, "MemTotal");
  machine.memory_available = meminfo_bytes(meminfo, "MemAvailable");
  if (limits.memory_total != 0)
    machine.memory_total = std::min(machine.memory_total, limits.memory_total);
  machine.memory_available =
      std::min({machine.memory_available, limits.memory_available, machine.memory_total});
  const std::string cpuinfo = read_small_file(root + "/proc/cpuinfo");
  const std::string_view model = line_after(cpuinfo, "model name");
  machine.cpu_model = trim_begin(model, " \t:");
  machine.cuda_count = static_cast<uint32_t>(nvml_inventory().gpus.size());
  return machine;
}

}  // namespace altlas::device
