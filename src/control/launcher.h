// Launcher: where replicas live. The core's StartWorker, SendCommand and StopWorker end here; what
// becomes of them comes back as WorkerConnected, WorkerReported and WorkerLost.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "engine/messages.h"

namespace boost::asio {
class io_context;
}

namespace altlas::control {

class Nodes;

// From any thread, one at a time for each worker: connected, reports, lost. None after shutdown().
struct LauncherCallbacks {
  std::function<void(WorkerId, int32_t pid)> connected;
  std::function<void(WorkerId, engine::Report)> report;
  std::function<void(WorkerId, std::string reason)> lost;
  // A machine of others' devices is gone, or is back. Its workers are reported lost as well. May be
  // empty.
  std::function<void(uint32_t node, bool up)> node_changed;
};

// Threads: one caller at a time; no call waits, but shutdown().
class Launcher {
 public:
  virtual ~Launcher() = default;
  // Before anything else. `boot_epoch`: of this start of the server, larger than that of every one
  // before it; workers of an earlier one are fenced.  Errors: kIo, kInvalid for a folder that can't
  // be used.
  virtual Result<void> open(uint64_t boot_epoch) = 0;
  virtual void start(WorkerId worker, engine::LoadReplica load) = 0;
  virtual void send(WorkerId worker, engine::Command command) = 0;
  virtual void stop(WorkerId worker,
                    bool kill) = 0;  // Unless killed, `lost` follows once it has ended.
  virtual void shutdown() = 0;  // Ends all of them; returns when no callback can come any more.
};

// Replicas as threads of this process.
std::unique_ptr<Launcher> make_inprocess_launcher(LauncherCallbacks callbacks);
// Replicas as `altlas worker` processes on this machine and, where their ranks' devices are there,
// on nodes. `folder`: of the socket, made if absent. `nodes`: null where there are none; outlives
// the launcher, whose shutdown() stops it.
std::unique_ptr<Launcher> make_process_launcher(boost::asio::io_context& context,
                                                std::string folder, LauncherCallbacks callbacks,
                                                Nodes* nodes = nullptr);

}  // namespace altlas::control
