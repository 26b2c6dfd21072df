// Machine: the worker processes of a simulated server and the links to them, with what goes wrong
// with either.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/philox.h"
#include "simulation/checkers.h"
#include "simulation/event_queue.h"
#include "simulation/gateway.h"
#include "simulation/scenario.h"
#include "simulation/worker_process.h"

namespace altlas::simulation {

class Machine {
 public:
  // All outlive this.
  Machine(EventQueue& events, PhiloxStream& random, const Scenario& scenario, ShapeCounts& counts)
      : events_(events), random_(random), scenario_(scenario), counts_(counts) {}

  // The server that workers talk to; null: it is gone, its links are cut, and its workers end by
  // themselves.
  void set_gateway(std::shared_ptr<Gateway> gateway, uint64_t epoch);
  void start_worker(WorkerId worker, uint64_t epoch);
  void kill_worker(WorkerId worker);
  void write(worker::ConnectionId connection, std::string bytes);
  // The server closes it; the worker hears what was written before.
  void close(worker::ConnectionId connection);

  // Faults, of a worker of the present server chosen by chance; false if there is none.
  bool crash_worker();
  bool stall_worker(int64_t for_us);
  bool break_link();
  bool stall_link(int64_t for_us);
  void fail_next_load() { ++loads_to_fail_; }
  void heal();

  // What really lies on each device; `reserved`: bytes by device.
  std::vector<DeviceUse> device_use(const std::vector<uint64_t>& reserved) const;
  // Workers of the present server whose adapters are not what it knows of; empty: there is none.
  // Those that are reading one are left out.
  std::string adapters_unlike(const std::vector<control::DeploymentView>& known) const;

 private:
  struct Worker {
    WorkerId worker;
    uint64_t epoch = 0;
    size_t deployment = 0;                   // From its load on.
    std::vector<size_t> devices;             // Whose memory it holds, from its load on.
    std::vector<size_t> all_devices;         // By rank of its replica.
    std::shared_ptr<WorkerProcess> process;  // Null while it starts.
    uint64_t connection = 0;                 // 0: none.
    TimeUs last_down = 0, last_up = 0;  // Deliveries under way; they do not overtake one another.
    TimeUs stalled_until = 0;
  };
  void spawn(uint64_t number);
  WorkerProcess::Hooks hooks_of(uint64_t number);
  Worker* find(uint64_t number);
  void connect(uint64_t number);
  void cut(uint64_t number);
  void hang_up(uint64_t number);
  void exited(uint64_t number, const std::string& why);
  Result<engine::SimOptions> load(uint64_t number, const engine::LoadReplica& load);
  void deliver(uint64_t number, std::string bytes, bool up);
  void deliver_part(uint64_t number, std::string bytes, bool up);
  uint64_t any_worker();

  EventQueue& events_;
  PhiloxStream& random_;
  const Scenario& scenario_;
  ShapeCounts& counts_;
  std::shared_ptr<Gateway> gateway_;
  uint64_t epoch_ = 0;
  std::map<uint64_t, Worker> workers_;      // By number of start, in all epochs.
  std::map<WorkerId, uint64_t> worker_of_;  // By worker of the present server, its number of start.
  std::map<uint64_t, uint64_t> of_connection_;  // Connection to number of start.
  uint64_t next_number_ = 1, next_connection_ = 1;
  uint32_t loads_to_fail_ = 0;
};

}  // namespace altlas::simulation
