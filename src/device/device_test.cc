// Tests of the ledger, buffers, the spec language, machine facts and load sampling.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "device/cpu/cpu_device.h"
#include "device/cuda/nvml.h"
#include "device/probe.h"
#include "device/spec.h"
#include "device/utilization.h"

namespace altlas::device {
namespace {

DeviceSpec small_cpu(uint64_t memory, uint32_t threads = 1) {
  return {.kind = DeviceKind::kCpu, .name = "cpu", .memory_bytes = memory, .threads = threads};
}

// Goal: nothing is allocated past the budget, and what ends is given back. Method: fill a 1 MiB
// device.
TEST(CpuDevice, BudgetHolds) {
  CpuDevice device(DeviceId{3}, small_cpu(1 << 20));
  EXPECT_EQ(device.id().value, 3);
  {
    Result<Buffer> weights = device.allocate("weights", 600 << 10);
    ASSERT_TRUE(weights.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(weights->data()) % 256, 0u);
    EXPECT_EQ(weights->as<char>()[599 << 10], 0);
    const Result<Buffer> kv = device.allocate("kv", 600 << 10);
    ASSERT_FALSE(kv.ok());
    EXPECT_EQ(kv.error().code(), ErrorCode::kBusy);
    EXPECT_NE(kv.error().message().find("424.00 KiB are free"), std::string::npos)
        << kv.error().message();
    Buffer moved = std::move(*weights);
    const MemoryUse use = device.memory_use();
    ASSERT_EQ(use.entries.size(), 1u);
    EXPECT_EQ(use.entries[0].name, "weights");
    EXPECT_EQ(use.used, 600u << 10);
  }
  EXPECT_EQ(device.memory_use().used, 0u);
  EXPECT_TRUE(device.allocate("kv", 1 << 20).ok());
  EXPECT_FALSE(device.allocate("kv", UINT64_MAX).ok());
}

// Goal: a buffer frees its memory as its device says, once, also after moves, and then gives its
// bytes back.
TEST(Buffer, ReleasesAsItsDeviceSays) {
  static std::vector<std::pair<std::byte*, uint64_t>> released;
  released.clear();
  Ledger ledger(100);
  ASSERT_TRUE(ledger.take("kv", 60).ok());
  ASSERT_TRUE(ledger.take("weights", 40).ok());
  std::byte first{}, second{};
  const auto release = [](std::byte* data, uint64_t size) { released.emplace_back(data, size); };
  {
    Buffer kv(&first, 60, 60, "kv", ledger, release);
    Buffer weights(&second, 40, 40, "weights", ledger, release);
    Buffer moved = std::move(kv);
    weights = std::move(moved);
    EXPECT_EQ(weights.data(), &first);
  }
  EXPECT_EQ(released.size(), 2u);
  EXPECT_EQ(ledger.use().used, 0u);
  {
    const Buffer none;
  }
  EXPECT_EQ(released.size(), 2u);
}

const MachineFacts kMachine{.cores = 8, .memory_total = uint64_t{100} << 30};

// Goal: each form of the device specification means what docs/cli.md says.
TEST(DeviceSpec, Forms) {
  auto specs = parse_device_spec("cpu", kMachine);
  ASSERT_TRUE(specs.ok());
  ASSERT_EQ(specs->size(), 1u);
  EXPECT_EQ(specs->at(0).threads, 8u);
  EXPECT_NEAR(static_cast<double>(specs->at(0).memory_bytes),
              0.9 * static_cast<double>(uint64_t{100} << 30), 16);

  specs = parse_device_spec("cpu:3", kMachine);
  ASSERT_TRUE(specs.ok());
  ASSERT_EQ(specs->size(), 3u);
  EXPECT_EQ(specs->at(0).threads + specs->at(1).threads + specs->at(2).threads, 8u);
  EXPECT_EQ(specs->at(2).cpu_first, specs->at(0).threads + specs->at(1).threads);

  specs = parse_device_spec("cpu:9", kMachine);
  ASSERT_TRUE(specs.ok());
  for (const DeviceSpec& spec : *specs) EXPECT_EQ(spec.threads, 1u);
  EXPECT_EQ(specs->at(8).cpu_first, 0u);

  specs = parse_device_spec("cpu:2:1:4GiB+sim:h100:2", kMachine);
  ASSERT_TRUE(specs.ok());
  ASSERT_EQ(specs->size(), 4u);
  EXPECT_EQ(specs->at(1).memory_bytes, uint64_t{4} << 30);
  EXPECT_EQ(specs->at(1).cpu_first, 1u);
  EXPECT_EQ(to_string(specs->at(1)), "cpu:1:1:4294967296");
  EXPECT_EQ(to_string(specs->at(3)), "sim:h100:1");
  EXPECT_EQ(specs->at(3).memory_bytes, uint64_t{80} << 30);
}

// Goal: what is wrong is refused with a message, and no input makes more than kDevicesMax devices.
TEST(DeviceSpec, Refusals) {
  for (const char* text :
       {"", "gpu", "cpu:0", "cpu:-1", "cpu:1:0", "cpu:1:1:0", "cpu:1:1:x", "cpu:1:1:1GiB:2",
        "cpu:1025", "cpu+", "sim", "sim:h101", "sim:h100:0", "cuda", "cpu:1000+cpu:1000"})
    EXPECT_FALSE(parse_device_spec(text, kMachine).ok()) << text;
  MachineFacts with_gpus = kMachine;
  with_gpus.cuda_count = 2;
  EXPECT_EQ(parse_device_spec("cuda", with_gpus)->size(), 2u);
  EXPECT_EQ(parse_device_spec("cuda:1", with_gpus)->at(0).cuda_index, 1u);
  EXPECT_FALSE(parse_device_spec("cuda:2", with_gpus).ok());
}

TEST(Probe, Parsers) {
  const char* text = "MemTotal:       24600000 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\n";
  EXPECT_EQ(meminfo_bytes(text, "MemAvailable"), 1u << 20);
  EXPECT_EQ(meminfo_bytes(text, "Mem"), 0u);
  EXPECT_EQ(meminfo_bytes("", "MemTotal"), 0u);
  EXPECT_EQ(cgroup_memory_limit("max\n"), 0u);
  EXPECT_EQ(cgroup_memory_limit("9223372036854771712\n"), 0u);
  EXPECT_EQ(cgroup_memory_limit("1048576\n"), 1048576u);
  EXPECT_EQ(cgroup_cpu_limit("max 100000"), 0u);
  EXPECT_EQ(cgroup_cpu_limit("150000 100000\n"), 2u);
  EXPECT_EQ(cgroup_cpu_limit("1 0"), 0u);
}

// Goal: the facts of the machine that runs this test are plausible.
TEST(Probe, ThisMachine) {
  const MachineFacts machine = probe_machine();
  EXPECT_GE(machine.cores, 1u);
  EXPECT_GT(machine.memory_total, uint64_t{64} << 20);
  EXPECT_LE(machine.memory_available, machine.memory_total);
}

TEST(Nvml, SaysWhyThereIsNone) {
  const GpuInventory inventory = nvml_inventory();
  EXPECT_EQ(inventory.gpus.empty(), !inventory.reason.empty());
}

// Goal: own work is not counted as foreign. Method: texts with known differences.
TEST(Utilization, Differences) {
  UtilizationSampler sampler;
  EXPECT_EQ(sampler.sample("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2\n", 50).total, 0);
  const Load load = sampler.sample("cpu  150 0 150 850 50 0 0 0 0 0\n", 80);
  EXPECT_DOUBLE_EQ(load.total, 0.5);
  EXPECT_DOUBLE_EQ(load.foreign, 0.35);
  EXPECT_DOUBLE_EQ(sampler.sample("cpu  150 0 150 850 50 0 0 0 0 0\n", 90).total, 0.5);
  EXPECT_DOUBLE_EQ(sampler.sample("garbage", 0).total, 0.5);
  EXPECT_EQ(process_ticks("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 700 44 0 0"), 744u);
  EXPECT_EQ(process_ticks(""), 0u);
  EXPECT_EQ(process_ticks("12 (x"), 0u);
}

}  // namespace
}  // namespace altlas::device
