#include "control/launch_book.h"

#include <fmt/format.h>

namespace altlas::control {

void LaunchBook::start(WorkerId worker, engine::LoadReplica load) {
  workers_.insert_or_assign(worker, Worker{std::move(load), "", false});
  actions_.push_back(SpawnProcess{worker});
}

void LaunchBook::stop(WorkerId worker, bool kill) {
  const auto found = workers_.find(worker);
  if (found == workers_.end()) return;
  actions_.push_back(DropLink{worker, "stopped by the server"});
  found->second.quiet = kill;
  if (kill) actions_.push_back(KillProcess{worker});
}

void LaunchBook::not_spawned(WorkerId worker, const std::string& why) {
  if (workers_.erase(worker) == 0) return;
  actions_.push_back(DropLink{worker, why});
  actions_.push_back(SayLost{worker, why});
}

void LaunchBook::link_opened(WorkerId worker, int32_t pid) {
  const auto found = workers_.find(worker);
  if (found == workers_.end()) return;
  actions_.push_back(LoadOverLink{worker, std::move(found->second.load)});
  actions_.push_back(SayConnected{worker, pid});
}

void LaunchBook::reported(WorkerId worker, engine::Report report) {
  if (workers_.contains(worker)) actions_.push_back(SayReported{worker, std::move(report)});
}

void LaunchBook::link_lost(WorkerId worker, std::string reason) {
  const auto found = workers_.find(worker);
  if (found == workers_.end()) return;
  found->second.link_lost = std::move(reason);
  actions_.push_back(KillProcess{worker});
}

// The process has exited: that is the worker's end, whatever its link says.
void LaunchBook::exited(WorkerId worker, const std::string& reason) {
  const auto found = workers_.find(worker);
  if (found == workers_.end()) return;
  const Worker ended = std::move(found->second);
  workers_.erase(found);
  actions_.push_back(DropLink{worker, reason});
  if (ended.quiet) return;
  // Where the link was lost first, the process was killed for it.
  actions_.push_back(SayLost{
      worker, ended.link_lost.empty() ? reason : fmt::format("{} ({})", reason, ended.link_lost)});
}

}  // namespace altlas::control
