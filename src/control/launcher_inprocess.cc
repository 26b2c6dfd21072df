// Replicas as threads of this process: the same messages through the same queues, no frames.
#include <unistd.h>

#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "control/launcher.h"
#include "engine/hosts.h"

namespace altlas::control {
namespace {

class InprocessLauncher : public Launcher {
 public:
  explicit InprocessLauncher(LauncherCallbacks callbacks) : callbacks_(std::move(callbacks)) {}
  ~InprocessLauncher() override { shutdown(); }

  Result<void> open(uint64_t) override { return {}; }

  void start(WorkerId id, engine::LoadReplica load) override {
    auto host = engine::make_host();
    engine::EngineHost& started = *host;
    hosts_[id] = std::move(host);
    callbacks_.connected(id, static_cast<int32_t>(::getpid()));
    started.start(
        std::move(load),
        [this, id](engine::Report report) { callbacks_.report(id, std::move(report)); },
        [this, id](const Error& end) { callbacks_.lost(id, end.message()); });
  }

  void send(WorkerId id, engine::Command command) override {
    const auto found = hosts_.find(id);
    if (found == hosts_.end()) return;
    if (found->second->command(std::move(command))) return;
    callbacks_.lost(id, "its inbox is full");
    stop(id, /*kill=*/true);
  }

  // A step or a load may have to end first, so a thread of its own waits for that.
  void stop(WorkerId id, bool kill) override {
    const auto found = hosts_.find(id);
    if (found == hosts_.end()) return;
    auto host = std::move(found->second);
    hosts_.erase(found);
    stopping_.emplace_back([this, id, kill, host = std::move(host)] {
      host->stop();
      if (!kill) callbacks_.lost(id, "stopped");
    });
  }

  void shutdown() override {
    while (!hosts_.empty()) stop(hosts_.begin()->first, /*kill=*/true);
    for (std::thread& thread : stopping_) thread.join();
    stopping_.clear();
  }

 private:
  const LauncherCallbacks callbacks_;
  std::map<WorkerId, std::unique_ptr<engine::EngineHost>> hosts_;
  // One thread per stopped host, so as many as there were restarts.
  std::vector<std::thread> stopping_;
};

}  // namespace

std::unique_ptr<Launcher> make_inprocess_launcher(LauncherCallbacks callbacks) {
  return std::make_unique<InprocessLauncher>(std::move(callbacks));
}

}  // namespace altlas::control
