#include "engine/adapter_loader.h"

#include <chrono>
#include <utility>

#include "base/check.h"

namespace altlas::engine {

AdapterLoader::AdapterLoader(Executor& executor, std::function<void()> wake)
    : executor_(executor), wake_(std::move(wake)), jobs_(kAdaptersMax), done_(2 * kAdaptersMax) {}

AdapterLoader::~AdapterLoader() {
  jobs_.close();
  if (thread_.joinable()) thread_.join();
}

void AdapterLoader::read(AdapterJob job) {
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  ALTLAS_CHECK(jobs_.try_send(std::move(job)), "no more adapters than the core lets in");
}

void AdapterLoader::run() {
  while (true) {
    std::vector<AdapterJob> jobs = jobs_.wait_drain(std::chrono::hours(1));
    if (jobs.empty() && jobs_.closed()) return;
    for (AdapterJob& job : jobs) {
      if (jobs_.closed()) return;
      AdapterRead read{job.id, executor_.load_adapter(job.id, job.path)};
      ALTLAS_CHECK(done_.try_send(std::move(read)), "results are taken before more is asked for");
      wake_();
    }
  }
}

}  // namespace altlas::engine
