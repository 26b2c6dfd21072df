#include "telemetry/process.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>

// A sanitizer's allocator, where this build has one; glibc's statistics know nothing of it.
extern "C" size_t __sanitizer_get_current_allocated_bytes() __attribute__((weak));

namespace altlas::telemetry {
namespace {

double resident_bytes() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"),
                                                             std::fclose);
  unsigned long all = 0, resident = 0;
  if (!file || std::fscanf(file.get(), "%lu %lu", &all, &resident) != 2) return 0;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double open_fds() {
  std::error_code error;
  double count = -1;  // The listing itself has one.
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error))
    ++count;
  return count;
}

double heap_bytes() {
  if (__sanitizer_get_current_allocated_bytes != nullptr)
    return static_cast<double>(__sanitizer_get_current_allocated_bytes());
  const struct mallinfo2 info = ::mallinfo2();
  return static_cast<double>(info.uordblks) + static_cast<double>(info.hblkhd);
}

double cpu_seconds() {
  struct rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

void add_process_metrics(Registry& registry) {
  struct rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    registry.gauge(kMaxFds)->set(static_cast<double>(limit.rlim_cur));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  registry.gauge(kStartTime)->set(std::chrono::duration<double>(now).count());
  registry.add_collector([&registry] {
    registry.gauge(kResidentBytes)->set(resident_bytes());
    registry.gauge(kOpenFds)->set(open_fds());
    registry.gauge(kHeapBytes)->set(heap_bytes());
    Counter& cpu = *registry.counter(kCpuSeconds);
    cpu.add(std::max(0.0, cpu_seconds() - cpu.value()));  // Collectors run one at a time.
  });
}

}  // namespace altlas::telemetry
