// Tests of the order in which teams take CPUs, on machines written as sysfs would show them.
#include "device/cpu/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace altlas::device {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A machine's description in a folder of its own, which goes with the object.
class Sysfs {
 public:
  Sysfs() : root_(fs::path(::testing::TempDir()) / ("topology_" + std::to_string(::getpid()))) {
    fs::remove_all(root_);
  }
  ~Sysfs() { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << '\n';
  }
  void core(std::initializer_list<int> cpus, const std::string& list) {
    for (const int cpu : cpus)
      write("cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", list);
  }
  std::string path() const { return root_.string(); }

 private:
  const fs::path root_;
};

// Goal: one CPU of every core first, nodes together, siblings last. Method: two nodes with two
// cores of two CPUs each, numbered as some firmware does: siblings side by side, nodes alternating.
TEST(Topology, CoresThenNodesThenSiblings) {
  Sysfs sysfs;
  sysfs.write("node/online", "0-1");
  sysfs.write("node/node0/cpulist", "0-1,4-5");
  sysfs.write("node/node1/cpulist", "2-3,6-7");
  sysfs.core({0, 1}, "0-1");
  sysfs.core({2, 3}, "2-3");
  sysfs.core({4, 5}, "4,5");
  sysfs.core({6, 7}, "6-7");
  const int all[] = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_THAT(cpu_order(all, sysfs.path()), ElementsAre(0, 4, 2, 6, 1, 5, 3, 7));
  // A CPU whose sibling is not ours counts as a core of its own.
  const int some[] = {1, 2, 3, 4};
  EXPECT_THAT(cpu_order(some, sysfs.path()), ElementsAre(1, 4, 2, 3));
}

// Goal: without a description, or with a damaged one, the order is that of numbers.
TEST(Topology, NothingToReadKeepsTheOrder) {
  Sysfs sysfs;
  const int all[] = {0, 1, 5};
  EXPECT_THAT(cpu_order(all, sysfs.path()), ElementsAre(0, 1, 5));
  sysfs.write("node/online", "99999999999-");
  sysfs.core({0, 1}, "x");
  EXPECT_THAT(cpu_order(all, sysfs.path()), ElementsAre(0, 1, 5));
  EXPECT_THAT(cpu_order({}, sysfs.path()), IsEmpty());
}

TEST(Topology, CpuLists) {
  EXPECT_THAT(parse_cpu_list("0-3,8"), ElementsAre(0, 1, 2, 3, 8));
  EXPECT_THAT(parse_cpu_list("7"), ElementsAre(7));
  for (const char* bad : {"", "a", "3-1", "-1", "1-", "1,,2", "1 2", "0-99999", "4294967296"})
    EXPECT_THAT(parse_cpu_list(bad), IsEmpty()) << bad;
}

}  // namespace
}  // namespace altlas::device
