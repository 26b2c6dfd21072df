// altlas doctor: what this machine has, what is missing, how to get it.
#include <dlfcn.h>
#include <fmt/format.h>
#include <google/protobuf/stubs/common.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/version.hpp>
#include <filesystem>

#include "base/child_process.h"
#include "base/units.h"
#include "cli/bandwidth.h"
#include "cli/command.h"
#include "cli/missing.h"
#include "cli/setup.h"
#include "cli/terminal.h"
#include "device/cuda/nvml.h"
#include "device/probe.h"
#include "engine/tokenizer.h"
#include "hardware/device_kinds.h"
#include "ops/simd.h"
#include "text/template/chat_template.h"
#include "weights/pull.h"

namespace altlas::cli {
namespace {

constexpr uint64_t kBandwidthBytes = uint64_t{512} << 20;  // More than caches hold.
constexpr double kBandwidthSeconds = 0.25;

// What this machine lacks, each with what would bring it.
using Missing = std::vector<std::string>;

void say_machine(const device::MachineFacts& machine) {
  utsname system{};
  uname(&system);
  fmt::print("system     {} {} {}\n", system.sysname, system.release, system.machine);
  fmt::print("cpu        {}, {} core{} for this process\n",
             machine.cpu_model.empty() ? "unknown" : printable(machine.cpu_model), machine.cores,
             machine.cores == 1 ? "" : "s");
  std::string simd;
  for (const ops::SimdTarget target : ops::simd_targets()) {
    if (!ops::simd_supported(target)) continue;
    simd += fmt::format("{}{}{}{}", simd.empty() ? "" : ", ", ops::to_string(target),
                        ops::simd_keeps_bits(target) ? "" : " (other bits)",
                        target == ops::simd_target() ? " (used)" : "");
  }
  fmt::print("simd       {}\n", simd);
  fmt::print("memory     {}, {} available\n", format_bytes(machine.memory_total),
             format_bytes(machine.memory_available));
}

void say_bandwidth(const device::MachineFacts& machine, Missing& missing) {
  const uint64_t bytes = std::min(kBandwidthBytes, machine.memory_available / 4);
  if (bytes < 64 * kMiB) {
    missing.push_back("memory to measure its speed: less than 256 MiB are available");
    return;
  }
  for (const Bandwidth& one : measure_read_bandwidth(bytes, kBandwidthSeconds, machine.cores))
    fmt::print("           read with {} thread{}: {:.1f} GB/s\n", one.threads,
               one.threads == 1 ? "" : "s", one.bytes_per_s / 1e9);
}

void say_gpus(Missing& missing) {
  const device::GpuInventory inventory = device::nvml_inventory();
  for (const device::GpuFacts& gpu : inventory.gpus)
    fmt::print("gpu {}      {}, {} of {} used, compute capability {:.1f}, {:.0f} C, {:.0f} W\n",
               gpu.index, printable(gpu.name), format_bytes(gpu.memory_used),
               format_bytes(gpu.memory_total), gpu.compute_capability, gpu.temperature,
               gpu.power_watt);
  if (const std::string notice = unused_gpus({}); !notice.empty())
    fmt::print("           {}\n", notice);
  if (inventory.gpus.empty()) {
    fmt::print("gpu        none: {}\n", printable(inventory.reason));
    return;  // The CPU engine needs no GPU.
  }
  struct Library {
    const char* file;
    const char* use;
    const char* get;
  };
  constexpr Library kLibraries[] = {
      {"libcuda.so.1", "the CUDA driver", "install NVIDIA's driver"},
      {"libcublasLt.so.12", "large products on GPUs", "install the CUDA 12 toolkit (libcublas-12)"},
      {"libnccl.so.2", "several GPUs as one", "install libnccl2 from NVIDIA's package source"},
  };
  for (const Library& library : kLibraries) {
    void* handle = dlopen(library.file, RTLD_LAZY | RTLD_LOCAL);
    fmt::print("           {} {}\n", library.file, handle != nullptr ? "found" : "missing");
    if (handle == nullptr)
      missing.push_back(fmt::format("{} ({}): {}", library.file, library.use, library.get));
    else
      dlclose(handle);
  }
}

void say_devices() {
  const auto devices = make_devices({});
  std::string sim;
  for (const DeviceKindInfo& kind : device_kinds())
    sim += (sim.empty() ? "" : ", ") + std::string(kind.name);
  if (devices.ok())
    for (const control::DeviceSetup& device : *devices)
      fmt::print("device {}   {}, {} (what `serve` takes without --devices)\n", device.id.value,
                 printable(device.name), format_bytes(device.memory_total));
  fmt::print("simulated  {}\n", sim);
}

void say_libraries() {
  const int sqlite = sqlite3_libversion_number();
  fmt::print("libraries  Boost {}.{}.{}, {}, SQLite {}.{}.{}, protobuf {}.{}, compiled by {}\n",
             BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100,
             OpenSSL_version(OPENSSL_VERSION), sqlite / 1000000, sqlite / 1000 % 1000,
             sqlite % 1000, GOOGLE_PROTOBUF_VERSION / 1000000,
             GOOGLE_PROTOBUF_VERSION / 1000 % 1000, __VERSION__);
}

void say_pip(Missing& missing) {
  const Result<ChildEnd> end = run_child(
      {.argv = {"python3", "-m", "pip", "--version"}, .inherited = weights::kPackageVariables});
  const bool there = end.ok() && end->ok();
  fmt::print("pip        {}\n", there ? printable(end->last_line()) : "missing");
  if (!there)
    missing.push_back(
        "python3 with pip (fetches models for `altlas pull`): apt-get install python3-pip");
}

// Returns the nearest existing folder at or above `path`.
std::filesystem::path existing(std::filesystem::path path) {
  std::error_code error;
  while (!path.empty() && !std::filesystem::exists(path, error) && path != path.parent_path())
    path = path.parent_path();
  return path.empty() ? "." : path;
}

void say_folder(const char* title, const std::string& folder, Missing& missing) {
  const std::filesystem::path there = existing(folder);
  std::error_code error;
  const auto space = std::filesystem::space(there, error);
  const bool writable = access(there.c_str(), W_OK | X_OK) == 0;
  fmt::print("{:<10} {}, {} free{}\n", title, printable(folder),
             error ? "unknown" : format_bytes(space.available), writable ? "" : ", not writable");
  if (!writable)
    missing.push_back(fmt::format(
        "a writable folder at {}: change its owner, or set {}", printable(there.string()),
        std::string_view(title) == "models" ? "ALTLAS_CACHE" : "--data-dir"));
}

void say_models(const weights::ModelFolders& folders, Missing& missing) {
  std::string names;
  const std::vector<weights::ModelSource> models = weights::list_models(folders);
  for (const weights::ModelSource& model : models)
    if (model.present) names += (names.empty() ? "" : ", ") + model.name;
  fmt::print("           {}\n", names.empty() ? "no model yet" : printable(names, 1000));
  for (const weights::ModelSource& model : models) {
    const auto source = model.present ? engine::open_chat_template(model.path) : std::string();
    if (!source.ok() || source->empty()) continue;
    if (const auto made = text::ChatTemplate::compile(*source); !made.ok())
      fmt::print("           {}: its chat template can't be used: {}\n", printable(model.name),
                 printable(made.error().message(), 300));
  }
  if (names.empty())
    missing.push_back(fmt::format("a model: altlas pull {}", weights::kDefaultModel));
}

}  // namespace

Run make_doctor(CLI::App&) {
  return [] {
    if (const auto simd = apply_simd({}); !simd.ok()) return fail(simd.error());
    Missing missing;
    const device::MachineFacts machine = device::probe_machine();
    say_machine(machine);
    say_bandwidth(machine, missing);
    say_gpus(missing);
    say_devices();
    say_libraries();
    say_pip(missing);
    const weights::ModelFolders folders = model_folders();
    say_folder("models", folders.cache, missing);
    say_models(folders, missing);
    say_folder("state", state_folder({}), missing);
    if (missing.empty()) fmt::print("missing    nothing\n");
    for (const std::string& one : missing) fmt::print("missing    {}\n", one);
    return kExitOk;
  };
}

}  // namespace altlas::cli
