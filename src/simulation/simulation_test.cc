// Goal: the server's promises (simulation/checkers.h) hold whatever goes wrong, a seed decides
// everything, and each checker can fail.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "base/child_process.h"
#include "simulation/checkers.h"
#include "simulation/world.h"

namespace altlas::simulation {
namespace {

#ifdef ALTLAS_SANITIZED
constexpr uint64_t kSeeds = 60;
#else
constexpr uint64_t kSeeds = 1000;
#endif

// ---- Other processes ----

// Runs this program's Child test over seeds; its output goes to `path`.
pid_t spawn_child(uint64_t first, uint64_t count, const std::string& path) {
  static constexpr std::string_view kAll[] = {"*"};
  const Result<pid_t> pid =
      start_child({.argv = {"/proc/self/exe", "--gtest_filter=Simulation.Child", "--gtest_brief=1"},
                   .inherited = kAll,
                   .environment = {{"ALTLAS_TEST_SEED_FIRST", std::to_string(first)},
                                   {"ALTLAS_TEST_SEED_COUNT", std::to_string(count)},
                                   {"ALTLAS_TEST_SEED_OUTPUT", path}}},
                  STDERR_FILENO);
  return pid.value();
}

std::string read_text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string output_path(int index) {
  return ::testing::TempDir() + "altlas_simulation_" + std::to_string(getpid()) + "_" +
         std::to_string(index);
}

// Returns one line per seed: number, hash, counts; and a failure with the command that shows it
// again.
std::string run_seed(uint64_t seed) {
  WorldOptions options;
  options.seed = seed;
  const WorldResult got = run_world(options);
  std::ostringstream line;
  line << seed << " " << got.event_hash << " " << got.events << " " << got.tasks << " "
       << got.completed << " " << got.server_crashes << " " << got.worker_crashes << " "
       << got.link_breaks << " " << got.disk_faults;
  ShapeCounts::fields([&](const char*, auto member) { line << " " << got.shapes.*member; });
  line << "\n";
  if (got.failure)
    line << "FAILED seed " << seed << ": " << *got.failure
         << "\n  again: altlas simulate seeds --first " << seed << " --count 1\n";
  return line.str();
}

TEST(Simulation, Child) {
  const char* path = std::getenv("ALTLAS_TEST_SEED_OUTPUT");
  if (path == nullptr) GTEST_SKIP() << "runs in the processes that the other tests start";
  const uint64_t first = std::strtoull(std::getenv("ALTLAS_TEST_SEED_FIRST"), nullptr, 10);
  const uint64_t count = std::strtoull(std::getenv("ALTLAS_TEST_SEED_COUNT"), nullptr, 10);
  std::ofstream out(path);
  for (uint64_t seed = first; seed < first + count; ++seed) out << run_seed(seed) << std::flush;
}

struct Sums {
  uint64_t seeds = 0, events = 0, tasks = 0, completed = 0, server_crashes = 0, worker_crashes = 0,
           link_breaks = 0, disk_faults = 0;
  ShapeCounts shapes;
};

// Adds up a child's lines. A seed that failed fails the test.
void add_lines(const std::string& text, Sums& sums) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("FAILED")) {
      std::string again;
      std::getline(lines, again);
      ADD_FAILURE() << line << "\n" << again;
      continue;
    }
    std::istringstream fields(line);
    uint64_t seed = 0, hash = 0, n[7] = {};
    fields >> seed >> hash;
    for (uint64_t& one : n) fields >> one;
    ++sums.seeds;
    sums.events += n[0];
    sums.tasks += n[1];
    sums.completed += n[2];
    sums.server_crashes += n[3];
    sums.worker_crashes += n[4];
    sums.link_breaks += n[5];
    sums.disk_faults += n[6];
    ShapeCounts shapes;
    ShapeCounts::fields([&](const char*, auto member) { fields >> shapes.*member; });
    add(sums.shapes, shapes);
  }
}

// Goal: all promises hold over a thousand seeds. Method: two processes with half of the seeds each.
TEST(Simulation, ThousandSeeds) {
  const pid_t first = spawn_child(1, kSeeds / 2, output_path(0));
  const pid_t second = spawn_child(1 + kSeeds / 2, kSeeds - kSeeds / 2, output_path(1));
  Sums sums;
  for (const auto& [pid, index] : {std::pair(first, 0), std::pair(second, 1)}) {
    EXPECT_EQ(wait_child(pid), 0);
    const std::string text = read_text(output_path(index));
    add_lines(text, sums);
    if (!text.ends_with('\n') || sums.seeds % (kSeeds / 2) != 0)
      ADD_FAILURE()
          << "it aborted after " << sums.seeds << " seeds of " << kSeeds << "; the last were\n"
          << text.substr(text.size() - std::min<size_t>(text.size(), 200))
          << "  again, the seed after the last: altlas simulate seeds --first N --count 1";
    unlink(output_path(index).c_str());
  }
  EXPECT_EQ(sums.seeds, kSeeds);
  // The faults did happen: otherwise the promises were not put to the test.
  EXPECT_GT(sums.tasks, kSeeds * 10);
  EXPECT_GT(sums.completed, sums.tasks / 3);
  EXPECT_GT(sums.server_crashes, kSeeds / 4);
  EXPECT_GT(sums.worker_crashes, kSeeds / 2);
  EXPECT_GT(sums.link_breaks, kSeeds / 2);
  EXPECT_GT(sums.disk_faults, kSeeds / 2);
  ShapeCounts::fields([&](const char* name, auto member) {
    RecordProperty(name, std::to_string(sums.shapes.*member));
    if (kSeeds >= 1000) EXPECT_GT(sums.shapes.*member, kSeeds / 500) << name << " is hardly tested";
  });
  RecordProperty("events", std::to_string(sums.events));
  RecordProperty("tasks", std::to_string(sums.tasks));
}

TEST(Simulation, SameSeedSameHashInTwoProcesses) {
  const pid_t first = spawn_child(1, 12, output_path(2));
  const pid_t second = spawn_child(1, 12, output_path(3));
  EXPECT_EQ(wait_child(first), 0);
  EXPECT_EQ(wait_child(second), 0);
  const std::string text = read_text(output_path(2));
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(text, read_text(output_path(3)));
  EXPECT_NE(run_seed(1).substr(2), run_seed(2).substr(2));
  unlink(output_path(2).c_str());
  unlink(output_path(3).c_str());
}

TEST(Simulation, WithoutFaultsNothingIsLost) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    WorldOptions options;
    options.seed = seed;
    options.faults = false;
    const WorldResult got = run_world(options);
    EXPECT_FALSE(got.failure) << "seed " << seed << ": " << *got.failure;
    EXPECT_EQ(got.server_crashes + got.worker_crashes + got.link_breaks + got.disk_faults, 0u);
  }
}

}  // namespace
}  // namespace altlas::simulation
