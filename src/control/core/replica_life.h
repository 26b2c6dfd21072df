// ReplicaLife: what follows from the life of replicas: start, load, run, hang, crash, backoff, and
// what becomes of the tasks they held. It owns no state.
//
// Reports of a replica that was given up are ignored: a restarted replica has a new ReplicaId.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "control/core/adapters.h"
#include "control/core/fleet.h"
#include "control/core/step.h"
#include "control/core/task_life.h"
#include "control/core/task_table.h"
#include "control/core/waiting_tasks.h"

namespace altlas::control {

class ReplicaLife {
 public:
  struct Parts {
    const Stage& stage;
    Fleet& fleet;
    TaskTable& tasks;
    WaitingTasks& waiting;
    Adapters& adapters;
    TaskLife& life;
  };
  explicit ReplicaLife(const Parts& parts) : in_(parts) {}

  void start_all(Step& step);
  void stop_all(Step& step);
  // From now on this many replicas of the deployment are wanted, at most as many as it has places.
  // More start at once; fewer end their tasks first.
  void scale(uint32_t deployment, uint32_t replicas, Step& step);
  void connected(const WorkerConnected& event, TimeUs now);
  void reported(WorkerReported& event, Step& step);
  void lost(const WorkerLost& event, Step& step);
  // What is due: replicas that hang, that were not ready in time, whose backoff is over. O(due).
  void check(Step& step);

 private:
  void start(uint32_t slot, Step& step);
  void tell_to_stop(uint32_t slot, const std::string& why, TimeUs until, Step& step);
  // Tasks that wait where no replica is wanted any more wait elsewhere.
  void move_waiting(uint32_t site, Step& step);
  // The slot of a worker that is one of its replica's; nothing where the replica was given up.
  std::optional<uint32_t> slot_of(WorkerId worker) const;
  // The replica is given up, and those of its workers that have not ended are killed. Nothing more
  // they say is heard. Its tasks go on elsewhere, or here after the restart.
  void gone(uint32_t slot, const std::string& why, Step& step);
  // What a worker says that does not lead: only whether it lives and has loaded.
  void follower_reported(uint32_t slot, const WorkerReported& event, Step& step);
  void loaded(uint32_t slot, uint32_t worker, const engine::ReplicaLoaded& report, Step& step);
  void load_failed(uint32_t slot, const engine::LoadFailed& failed, Step& step);
  void adapter_loaded(uint32_t slot, engine::AdapterLoaded& report, Step& step);
  void conclude_adapter(uint32_t deployment, const std::string& name, Step& step);
  void fail_unserved(uint32_t deployment, Step& step);

  const Parts in_;
};

}  // namespace altlas::control
