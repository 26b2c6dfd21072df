// Goal: power and clock of the processor are what the kernel's files say. Method: files of our own.
#include "cli/device_sampler.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/scratch_folder.h"

namespace altlas::cli {
namespace {

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text << "\n";
}

// Two sockets of 100 W and 50 W; the memory's zone is not the socket's. One counter goes round.
TEST(DeviceSampler, PowerOfTheSockets) {
  const ScratchFolder folder = *ScratchFolder::make();
  const std::filesystem::path root = folder.path();
  EXPECT_LT(SocketPower(root / "none").sample(1), 0);
  const auto zone = [&](int number, const char* name, const char* energy) {
    const std::filesystem::path one = root / ("intel-rapl:" + std::to_string(number));
    write(one / "name", name);
    write(one / "energy_uj", energy);
    write(one / "max_energy_range_uj", "1000000000");
  };
  zone(0, "package-0", "900000000");
  zone(1, "package-1", "5000000");
  zone(2, "dram", "1");
  SocketPower power(root);
  EXPECT_LT(power.sample(0), 0);
  zone(0, "package-0", "100000000");
  zone(1, "package-1", "105000000");
  zone(2, "dram", "999999999");
  EXPECT_DOUBLE_EQ(power.sample(2 * kSecond), 150);
  std::filesystem::remove_all(root / "intel-rapl:0");
  std::filesystem::remove_all(root / "intel-rapl:1");
  EXPECT_LT(power.sample(3 * kSecond), 0);
}

TEST(DeviceSampler, ClockOfTheCores) {
  const ScratchFolder folder = *ScratchFolder::make();
  const std::filesystem::path root = folder.path();
  EXPECT_LT(cpu_clock_mhz(root), 0);
  write(root / "cpu0" / "cpufreq" / "scaling_cur_freq", "3000000");
  write(root / "cpu1" / "cpufreq" / "scaling_cur_freq", "2000000");
  write(root / "cpuidle" / "current_driver", "none");
  EXPECT_DOUBLE_EQ(cpu_clock_mhz(root), 2500);
}

}  // namespace
}  // namespace altlas::cli
