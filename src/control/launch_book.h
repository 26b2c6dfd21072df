// LaunchBook: the lives of worker processes as a pure piece: what is to be started, loaded and
// killed, who is lost and why. The process launcher drives it, and so does the simulator.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "engine/messages.h"

namespace altlas::control {

// ---- What the edge must do, in order ----
// Expect the worker's link, then start its process; not_spawned() if that can't be.
struct SpawnProcess {
  WorkerId worker;
};
// SIGKILL; exited() follows.
struct KillProcess {
  WorkerId worker;
};
// Say goodbye over the worker's link and forget it.
struct DropLink {
  WorkerId worker;
  std::string reason;
};
struct LoadOverLink {
  WorkerId worker;
  engine::LoadReplica load;
};
// For the core.
struct SayConnected {
  WorkerId worker;
  int32_t pid = 0;
};
struct SayReported {
  WorkerId worker;
  engine::Report report;
};
struct SayLost {
  WorkerId worker;
  std::string reason;
};
using LaunchAction = std::variant<SpawnProcess, KillProcess, DropLink, LoadOverLink, SayConnected,
                                  SayReported, SayLost>;

// Threads: one.
class LaunchBook {
 public:
  void start(WorkerId worker, engine::LoadReplica load);
  // Killed: nothing more is said of it. Otherwise SayLost follows once it has ended.
  void stop(WorkerId worker, bool kill);

  // From the edge. Of a worker that is not in the book they are ignored.
  void not_spawned(WorkerId worker, const std::string& why);
  void link_opened(WorkerId worker, int32_t pid);
  void reported(WorkerId worker, engine::Report report);
  // Without its link a worker is of no use: it is killed, and its exit ends its life.
  void link_lost(WorkerId worker, std::string reason);
  void exited(WorkerId worker, const std::string& reason);

  std::vector<LaunchAction> take_actions() { return std::exchange(actions_, {}); }
  bool knows(WorkerId worker) const { return workers_.contains(worker); }

 private:
  struct Worker {
    engine::LoadReplica load;
    std::string link_lost;  // Why, where the link went first.
    bool quiet = false;     // Nobody wants to know of its end.
  };
  std::map<WorkerId, Worker> workers_;
  std::vector<LaunchAction> actions_;
};

}  // namespace altlas::control
