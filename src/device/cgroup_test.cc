// Goal: the least limit of the own group and of all above it is found, in both versions, however
// they are mounted. Method: trees of files as the kernel shows them, below a folder of the test.
#include "device/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "device/probe.h"

namespace altlas::device {
namespace {

namespace fs = std::filesystem;
using Files = std::vector<std::pair<std::string, std::string>>;

constexpr uint64_t kMiB = 1 << 20;
constexpr const char* kMountsV2 =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kMountsV1 =
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

struct Case {
  const char* name;
  Files files;
  uint64_t memory_total, memory_available;
  uint32_t cores;
};

std::string text(uint64_t mib) { return std::to_string(mib * kMiB) + "\n"; }

std::vector<Case> version_2_cases() {
  constexpr uint64_t kAll = UINT64_MAX;
  const std::string v2 = "/sys/fs/cgroup";
  return {
      {"nothing can be read", {}, 0, kAll, 0},
      {"version 2, the root only",
       {{"/proc/self/cgroup", "0::/\n"},
        {"/proc/self/mountinfo", kMountsV2},
        {v2 + "/memory.max", text(900)},
        {v2 + "/memory.current", text(100)}},
       900 * kMiB,
       800 * kMiB,
       0},
      {"version 2, the own group",
       {{"/proc/self/cgroup", "0::/a.slice/b.service\n"},
        {"/proc/self/mountinfo", kMountsV2},
        {v2 + "/a.slice/memory.max", "max\n"},
        {v2 + "/a.slice/b.service/memory.max", text(700)},
        {v2 + "/a.slice/b.service/memory.current", text(300)},
        {v2 + "/a.slice/b.service/memory.stat", "anon 1\ninactive_file 104857600\nfile 5\n"},
        {v2 + "/a.slice/b.service/cpu.max", "max 100000\n"},
        {v2 + "/a.slice/cpu.max", "250000 100000\n"}},
       700 * kMiB,
       500 * kMiB,
       3},
      {"version 2, a group above is fuller than the own",
       {{"/proc/self/cgroup", "0::/a/b/c\n"},
        {"/proc/self/mountinfo", kMountsV2},
        {v2 + "/a/memory.max", text(2000)},
        {v2 + "/a/memory.current", text(1950)},
        {v2 + "/a/b/c/memory.max", text(1000)},
        {v2 + "/a/b/c/memory.current", text(10)},
        {v2 + "/a/b/memory.high", text(800)},
        {v2 + "/a/b/memory.current", text(20)}},
       800 * kMiB,
       50 * kMiB,
       0},
  };
}

std::vector<Case> other_cases() {
  const std::string memory = "/sys/fs/cgroup/memory", cpu = "/sys/fs/cgroup/cpu,cpuacct";
  return {
      {"version 1, memory above, cpu in the own group",
       {{"/proc/self/cgroup", "4:memory:/x/y\n3:cpu,cpuacct:/z\n0::/\n"},
        {"/proc/self/mountinfo", kMountsV1},
        {memory + "/x/memory.limit_in_bytes", text(600)},
        {memory + "/x/memory.usage_in_bytes", text(200)},
        {memory + "/x/memory.use_hierarchy", "1\n"},
        {memory + "/x/memory.stat", "inactive_file 1\ntotal_inactive_file 52428800\n"},
        {memory + "/x/y/memory.limit_in_bytes", "9223372036854771712\n"},
        {cpu + "/z/cpu.cfs_quota_us", "150000\n"},
        {cpu + "/z/cpu.cfs_period_us", "100000\n"},
        {cpu + "/cpu.cfs_quota_us", "-1\n"},
        {cpu + "/cpu.cfs_period_us", "100000\n"}},
       600 * kMiB,
       450 * kMiB,
       2},
      {"version 1, a group above that does not count those below",
       {{"/proc/self/cgroup", "4:memory:/x/y\n"},
        {"/proc/self/mountinfo", kMountsV1},
        {memory + "/x/memory.limit_in_bytes", text(100)},
        {memory + "/x/memory.use_hierarchy", "0\n"},
        {memory + "/x/y/memory.limit_in_bytes", text(500)},
        {memory + "/x/y/memory.usage_in_bytes", text(50)}},
       500 * kMiB,
       450 * kMiB,
       0},
      {"a container that is told the host's path",
       {{"/proc/self/cgroup", "4:memory:/docker/abc\n0::/docker/abc\n"},
        {"/proc/self/mountinfo",
         "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"},
        {memory + "/memory.limit_in_bytes", text(400)},
        {memory + "/memory.usage_in_bytes", text(30)}},
       400 * kMiB,
       370 * kMiB,
       0},
      {"a group outside of what is mounted, a mount with a space",
       {{"/proc/self/cgroup", "0::/../other\n"},
        {"/proc/self/mountinfo", "1 2 0:3 / /my\\040groups rw - cgroup2 none rw\n"},
        {"/my groups/memory.max", text(300)},
        {"/my groups/cpu.max", "50000 100000\n"}},
       300 * kMiB,
       300 * kMiB,
       1},
  };
}

TEST(Cgroup, TheLeastLimitOfAllGroups) {
  const fs::path top = fs::temp_directory_path() / ("cgroup_test_" + std::to_string(::getpid()));
  std::vector<Case> cases = version_2_cases();
  for (Case& one : other_cases()) cases.push_back(std::move(one));
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    fs::remove_all(top);
    fs::create_directories(top / "proc");
    std::ofstream(top / "proc/meminfo") << "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n";
    for (const auto& [path, content] : one.files) {
      fs::create_directories(fs::path(top.string() + path).parent_path());
      std::ofstream(top.string() + path) << content;
    }
    const CgroupLimits got = read_cgroup_limits(top.string());
    EXPECT_EQ(got.memory_total, one.memory_total);
    EXPECT_EQ(got.memory_available, one.memory_available);
    EXPECT_EQ(got.cores, one.cores);
    const MachineFacts machine = probe_machine(top.string());
    EXPECT_EQ(machine.memory_total, one.memory_total == 0 ? 8192 * kMiB : one.memory_total);
    EXPECT_EQ(machine.memory_available, std::min(one.memory_available, 4096 * kMiB));
    if (one.cores != 0) EXPECT_LE(machine.cores, one.cores);
  }
  fs::remove_all(top);
}

}  // namespace
}  // namespace altlas::device
