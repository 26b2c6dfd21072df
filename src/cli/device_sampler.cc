#include "cli/device_sampler.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>

#include "base/clock.h"
#include "control/metrics.h"
#include "device/utilization.h"

namespace altlas::cli {
namespace {

namespace fs = std::filesystem;

std::string read_small(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

// CPU ticks of this process and of its children (the workers).
uint64_t own_ticks() {
  uint64_t ticks = device::process_ticks(read_small("/proc/self/stat"));
  std::error_code error;
  for (const auto& task : fs::directory_iterator("/proc/self/task", error)) {
    std::istringstream children(read_small(task.path() / "children"));
    for (int pid = 0; children >> pid;)
      ticks += device::process_ticks(read_small("/proc/" + std::to_string(pid) + "/stat"));
  }
  return ticks;
}

}  // namespace

double cpu_temperature(const std::string& folder) {
  double hottest = -1;
  std::error_code error;
  for (const auto& chip : fs::directory_iterator(folder, error)) {
    const std::string name = read_small(chip.path() / "name");
    if (!name.starts_with("coretemp") && !name.starts_with("k10temp")) continue;
    std::error_code ignored;
    for (const auto& file : fs::directory_iterator(chip.path(), ignored)) {
      const std::string sensor = file.path().filename().string();
      if (!sensor.starts_with("temp") || !sensor.ends_with("_input")) continue;
      hottest = std::max(hottest, std::atof(read_small(file.path()).c_str()) / 1000);
    }
  }
  return hottest;
}

double cpu_clock_mhz(const std::string& folder) {
  double sum = 0, cores = 0;
  std::error_code error;
  for (const auto& core : fs::directory_iterator(folder, error)) {
    const double khz = std::atof(read_small(core.path() / "cpufreq" / "scaling_cur_freq").c_str());
    if (khz <= 0) continue;
    sum += khz / 1000;
    ++cores;
  }
  return cores > 0 ? sum / cores : -1;
}

double SocketPower::sample(int64_t now_us) {
  std::map<std::string, uint64_t> now;
  double joules = 0;
  bool counted = false;
  std::error_code error;
  for (const auto& zone : fs::directory_iterator(folder_, error)) {
    if (!read_small(zone.path() / "name").starts_with("package-")) continue;
    const std::string text = read_small(zone.path() / "energy_uj");
    if (text.empty()) continue;  // The kernel lets root only read it.
    const std::string name = zone.path().filename().string();
    const uint64_t energy = now[name] = std::strtoull(text.c_str(), nullptr, 10);
    const auto before = energy_uj_.find(name);
    if (before == energy_uj_.end()) continue;
    uint64_t range = 0;
    if (energy < before->second)
      range = std::strtoull(read_small(zone.path() / "max_energy_range_uj").c_str(), nullptr, 10);
    if (energy + range < before->second) continue;
    joules += static_cast<double>(energy + range - before->second) / 1e6;
    counted = true;
  }
  energy_uj_ = std::move(now);
  const double passed = static_cast<double>(now_us - std::exchange(last_us_, now_us)) / 1e6;
  return counted && passed > 0 ? joules / passed : -1;
}

std::function<std::vector<control::DeviceSampled>()> make_device_sampler(
    std::vector<control::DeviceSetup> devices, const std::atomic<bool>& cpu_yields,
    telemetry::Registry* metrics) {
  const auto sampler = std::make_shared<device::UtilizationSampler>();
  // A test may name sensors of its own.
  const auto place = [](const char* variable, const char* usual) -> std::string {
    const char* own = std::getenv(variable);
    return own == nullptr ? usual : own;
  };
  const std::string sensors = place("ALTLAS_TEST_HWMON", "/sys/class/hwmon");
  const std::string cores = place("ALTLAS_TEST_CPUS", "/sys/devices/system/cpu");
  const auto power =
      std::make_shared<SocketPower>(place("ALTLAS_TEST_POWERCAP", "/sys/class/powercap"));
  const auto cpus = static_cast<double>(std::ranges::count_if(
      devices, [](const auto& device) { return device.node == 0 && device.kind == "cpu"; }));
  return
      [sensors, cores, power, cpus, devices = std::move(devices), sampler, metrics, &cpu_yields] {
        const device::Load load = sampler->sample(read_small("/proc/stat"), own_ticks());
        const double temperature = cpu_temperature(sensors);
        const double watts = cpus > 0 ? power->sample(system_clock().now()) : -1;
        const double clock = cpus > 0 ? cpu_clock_mhz(cores) : -1;
        std::vector<control::DeviceSampled> samples;
        for (const control::DeviceSetup& device : devices) {
          if (device.node != 0) continue;  // Another machine's.
          control::DeviceSampled sample;
          sample.device = device.id;
          sample.utilization = -1;
          if (device.kind == "cpu") {
            if (cpu_yields) sample.foreign_utilization = load.foreign * 100;
            sample.temperature = temperature;
            if (watts >= 0) sample.power = watts / cpus;
            const std::string id = std::to_string(device.id.value);
            if (clock >= 0 && metrics != nullptr)
              metrics->gauge(control::kDcgmClock, {id, device.kind + id, device.name})->set(clock);
          }
          samples.push_back(sample);
        }
        return samples;
      };
}

}  // namespace altlas::cli
