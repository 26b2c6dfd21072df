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

// From any thread, one at a time for each replica: connected, reports, lost. None after shutdown().
struct LauncherCallbacks {
  std::function<void(ReplicaId, int32_t pid)> connected;
  std::function<void(ReplicaId, engine::Report)> report;
  std::function<void(ReplicaId, std::string reason)> lost;
};

// Threads: one caller at a time; no call waits, but shutdown().
class Launcher {
 public:
  virtual ~Launcher() = default;
  virtual Result<void>
  open() = 0;  // Before anything else.  Errors: kIo, kInvalid for a folder that can't be used.
  virtual void start(ReplicaId replica, engine::LoadReplica load) = 0;
  virtual void send(ReplicaId replica, engine::Command command) = 0;
  virtual void stop(ReplicaId replica,
                    bool kill) = 0;  // Unless killed, `lost` follows once it has ended.
  virtual void shutdown() = 0;  // Ends all of them; returns when no callback can come any more.
};

// Replicas as threads of this process.
std::unique_ptr<Launcher> make_inprocess_launcher(LauncherCallbacks callbacks);
// Replicas as `altlas worker` processes on this machine. `folder`: of the socket, made if absent.
std::unique_ptr<Launcher> make_process_launcher(boost::asio::io_context& context,
                                                std::string folder, LauncherCallbacks callbacks);

}  // namespace altlas::control
