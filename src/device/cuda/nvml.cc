#include "device/cuda/nvml.h"

#include <dlfcn.h>

#include <algorithm>
#include <mutex>

namespace altlas::device {
namespace {
// The part of NVML's C interface that is used, as its public reference documents it (NVML API
// reference, "Device queries"). Every function returns 0 for success.
using Handle = void*;
struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned gpu, memory;
};
struct Process {
  unsigned pid;
  unsigned long long memory;
  unsigned gpu_instance, compute_instance;
};
constexpr int kInsufficientSize = 7;
constexpr unsigned kGpusMax = 64, kProcessesMax = 256;

struct Nvml {
  int (*init)() = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*handle)(unsigned, Handle*) = nullptr;
  int (*name)(Handle, char*, unsigned) = nullptr;
  int (*uuid)(Handle, char*, unsigned) = nullptr;
  int (*memory)(Handle, Memory*) = nullptr;
  int (*utilization)(Handle, Utilization*) = nullptr;
  int (*temperature)(Handle, int, unsigned*) = nullptr;
  int (*power)(Handle, unsigned*) = nullptr;
  int (*capability)(Handle, int*, int*) = nullptr;
  int (*processes)(Handle, unsigned*, Process*) = nullptr;
  std::string reason;
};

Nvml load() {
  Nvml nvml;
  void* library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    nvml.reason = "no NVIDIA driver: libnvidia-ml.so.1 can't be loaded";
    return nvml;
  }
  bool whole = true;
  const auto find = [&](auto& function, const char* symbol, bool needed) {
    function =
        reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, symbol));
    if (function == nullptr && needed) whole = false;
  };
  find(nvml.init, "nvmlInit_v2", true);
  find(nvml.count, "nvmlDeviceGetCount_v2", true);
  find(nvml.handle, "nvmlDeviceGetHandleByIndex_v2", true);
  find(nvml.name, "nvmlDeviceGetName", true);
  find(nvml.memory, "nvmlDeviceGetMemoryInfo", true);
  find(nvml.uuid, "nvmlDeviceGetUUID", false);
  find(nvml.utilization, "nvmlDeviceGetUtilizationRates", false);
  find(nvml.temperature, "nvmlDeviceGetTemperature", false);
  find(nvml.power, "nvmlDeviceGetPowerUsage", false);
  find(nvml.capability, "nvmlDeviceGetCudaComputeCapability", false);
  find(nvml.processes, "nvmlDeviceGetComputeRunningProcesses_v3", false);
  if (!whole)
    nvml.reason = "libnvidia-ml.so.1 lacks a function of NVML 11 or later: update the driver";
  else if (const int error = nvml.init(); error != 0)
    nvml.reason = "the NVIDIA driver did not start: nvmlInit answered " + std::to_string(error);
  return nvml;
}

GpuFacts facts(const Nvml& nvml, unsigned index, Handle handle) {
  GpuFacts gpu{.index = index};
  char text[96] = {};
  if (nvml.name(handle, text, sizeof(text) - 1) == 0) gpu.name = text;
  if (nvml.uuid && nvml.uuid(handle, text, sizeof(text) - 1) == 0) gpu.uuid = text;
  if (Memory memory{}; nvml.memory(handle, &memory) == 0) {
    gpu.memory_total = memory.total;
    gpu.memory_used = memory.used;
  }
  if (Utilization rates{}; nvml.utilization && nvml.utilization(handle, &rates) == 0)
    gpu.utilization = rates.gpu / 100.0;
  if (unsigned value = 0; nvml.temperature && nvml.temperature(handle, 0, &value) == 0)
    gpu.temperature = value;
  if (unsigned milliwatt = 0; nvml.power && nvml.power(handle, &milliwatt) == 0)
    gpu.power_watt = milliwatt / 1000.0;
  if (int major = 0, minor = 0; nvml.capability && nvml.capability(handle, &major, &minor) == 0)
    gpu.compute_capability = major + minor / 10.0;
  if (nvml.processes) {
    std::vector<Process> list(kProcessesMax);
    unsigned count = kProcessesMax;
    const int error = nvml.processes(handle, &count, list.data());
    if (error == 0 || error == kInsufficientSize)
      for (unsigned i = 0; i < std::min(count, kProcessesMax); ++i)
        gpu.processes.push_back(list[i].pid);
  }
  return gpu;
}
}  // namespace

GpuInventory nvml_inventory() {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  // The library is never unloaded: NVIDIA does not promise that a process survives that.
  static const Nvml nvml = load();
  GpuInventory inventory;
  inventory.reason = nvml.reason;
  if (!nvml.reason.empty()) return inventory;
  unsigned count = 0;
  if (const int error = nvml.count(&count); error != 0) {
    inventory.reason =
        "the NVIDIA driver answered " + std::to_string(error) + " to a count of its GPUs";
    return inventory;
  }
  for (unsigned i = 0; i < std::min(count, kGpusMax); ++i) {
    Handle handle = nullptr;
    if (nvml.handle(i, &handle) == 0) inventory.gpus.push_back(facts(nvml, i, handle));
  }
  if (inventory.gpus.empty()) inventory.reason = "the NVIDIA driver names no GPU";
  return inventory;
}

}  // namespace altlas::device
