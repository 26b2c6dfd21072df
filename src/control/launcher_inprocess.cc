// Replicas as threads of this process: the same messages through the same queues, no frames.
#include <unistd.h>

#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "control/launcher.h"
#include "engine/replica.h"

namespace altlas::control {
namespace {

class InprocessLauncher : public Launcher {
 public:
  explicit InprocessLauncher(LauncherCallbacks callbacks) : callbacks_(std::move(callbacks)) {}
  ~InprocessLauncher() override { shutdown(); }

  Result<void> open(uint64_t) override { return {}; }

  void start(WorkerId id, engine::LoadReplica load) override {
    engine::ReplicaOptions options;
    options.load = std::move(load);
    options.loader = engine::load_replica;
    options.report = [this, id](engine::Report report) {
      callbacks_.report(id, std::move(report));
    };
    options.ended = [this, id](const Result<void>& end) {
      if (!end.ok()) callbacks_.lost(id, end.error().message());
    };
    auto replica = std::make_unique<engine::Replica>(std::move(options));
    engine::Replica& started = *replica;
    replicas_[id] = std::move(replica);
    callbacks_.connected(id, static_cast<int32_t>(::getpid()));
    started.start();
  }

  void send(WorkerId id, engine::Command command) override {
    const auto found = replicas_.find(id);
    if (found == replicas_.end()) return;
    if (found->second->send(std::move(command))) return;
    callbacks_.lost(id, "its inbox is full");
    stop(id, /*kill=*/true);
  }

  // A step, or a load, may have to end first: a thread of its own waits for that.
  void stop(WorkerId id, bool kill) override {
    const auto found = replicas_.find(id);
    if (found == replicas_.end()) return;
    auto replica = std::move(found->second);
    replicas_.erase(found);
    stopping_.emplace_back([this, id, kill, replica = std::move(replica)] {
      replica->stop();
      if (!kill) callbacks_.lost(id, "stopped");
    });
  }

  void shutdown() override {
    while (!replicas_.empty()) stop(replicas_.begin()->first, /*kill=*/true);
    for (std::thread& thread : stopping_) thread.join();
    stopping_.clear();
  }

 private:
  const LauncherCallbacks callbacks_;
  std::map<WorkerId, std::unique_ptr<engine::Replica>> replicas_;
  std::vector<std::thread> stopping_;  // One per stopped replica: as many as there were restarts.
};

}  // namespace

std::unique_ptr<Launcher> make_inprocess_launcher(LauncherCallbacks callbacks) {
  return std::make_unique<InprocessLauncher>(std::move(callbacks));
}

}  // namespace altlas::control
