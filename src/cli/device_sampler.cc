#include "cli/device_sampler.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

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

std::function<std::vector<control::DeviceSampled>()> make_device_sampler(
    std::vector<control::DeviceSetup> devices, const std::atomic<bool>& cpu_yields) {
  const auto sampler = std::make_shared<device::UtilizationSampler>();
  const char* own = std::getenv("ALTLAS_TEST_HWMON");  // A test may name sensors of its own.
  const std::string sensors = own == nullptr ? "/sys/class/hwmon" : own;
  return [sensors, devices = std::move(devices), sampler, &cpu_yields] {
    const device::Load load = sampler->sample(read_small("/proc/stat"), own_ticks());
    const double temperature = cpu_temperature(sensors);
    std::vector<control::DeviceSampled> samples;
    for (const control::DeviceSetup& device : devices) {
      if (device.node != 0) continue;  // Another machine's.
      control::DeviceSampled sample;
      sample.device = device.id;
      sample.utilization = -1;
      if (device.kind == "cpu") {
        if (cpu_yields) sample.foreign_utilization = load.foreign * 100;
        sample.temperature = temperature;
      }
      samples.push_back(sample);
    }
    return samples;
  };
}

}  // namespace altlas::cli
