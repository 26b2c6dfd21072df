// Goal: the process' metrics are there under their usual names and follow what the process does.
#include "telemetry/process.h"

#include <gtest/gtest.h>
#include <fcntl.h>
#include <unistd.h>

#include <vector>

namespace altlas::telemetry {
namespace {

TEST(ProcessMetrics, FollowWhatTheProcessDoes) {
  Registry registry;
  add_process_metrics(registry);
  registry.write_prometheus();
  const double heap = registry.gauge(kHeapBytes)->value();
  const double fds = registry.gauge(kOpenFds)->value();
  EXPECT_GT(registry.gauge(kResidentBytes)->value(), 1e5);
  EXPECT_GT(registry.gauge(kStartTime)->value(), 1.7e9);
  EXPECT_GE(registry.gauge(kMaxFds)->value(), fds);
  constexpr size_t kBytes = size_t{64} << 20;
  std::vector<char> large(kBytes, 'x');
  std::vector<int> opened;
  for (int i = 0; i < 10; ++i) opened.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  volatile double sum = 0;  // Some processor time.
  for (int i = 0; i < 30'000'000; ++i) sum = sum + 1;
  const std::string text = registry.write_prometheus();
  EXPECT_NEAR(registry.gauge(kHeapBytes)->value() - heap, kBytes, 1 << 20);
  EXPECT_EQ(registry.gauge(kOpenFds)->value() - fds, 10);
  EXPECT_GT(registry.counter(kCpuSeconds)->value(), 0.005);
  for (const int fd : opened) ::close(fd);
  large = std::vector<char>();
  large.shrink_to_fit();
  registry.write_prometheus();
  EXPECT_NEAR(registry.gauge(kHeapBytes)->value(), heap, 1 << 20);
  EXPECT_EQ(registry.gauge(kOpenFds)->value(), fds);
  for (const MetricDef* def : kProcessMetrics)
    EXPECT_NE(text.find("\n" + std::string(def->name) + " "), std::string::npos) << def->name;
}

}  // namespace
}  // namespace altlas::telemetry
