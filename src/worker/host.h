// The worker process: connects to its server, hands commands to an EngineHost and its reports back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "collective/stream.h"
#include "engine/engine_host.h"
#include "worker/link.h"
#include "worker/worker_pump.h"

namespace altlas::worker {

using engine::EngineHost;

struct WorkerOptions {
  // Where the server is: one of the two.
  std::string socket_path;
  std::optional<TlsAddress> tls;
  WorkerId worker;
  uint64_t epoch = 0;
  std::string token;
  // Not 0: the kernel kills this process when the thread that spawned it ends.
  int32_t parent_pid = 0;
  // A server not heard for so long is gone. One that ended is seen at once, by its socket; one that
  // is stopped or very busy comes back to loaded models.
  int64_t silence_max = 60 * kSecond;
};

// Connects to a server under TLS, within `wait`; who answers is the caller's to read. Errors: as
// collective::resolve and connect_to.
Result<collective::Stream> connect_tls(const TlsAddress& address, std::chrono::milliseconds wait);

// The name of this machine.
std::string host_name();

// Runs until the server is gone or says goodbye, at most 5 s after that; gives a WorkerExit, which
// the process exits with. If the engine does not stop in time, this returns while it still
// computes: the process must then end at once (_exit), and `host` must not be destroyed. `message`:
// why it ended, for the log.  Threads: uses the calling one and short-lived own ones.
int run_worker(const WorkerOptions& options, EngineHost& host, std::string* message = nullptr);

}  // namespace altlas::worker
