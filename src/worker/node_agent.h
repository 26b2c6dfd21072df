// NodeAgent: a machine that lends its devices to a server elsewhere. It holds one link to the
// server and starts a process for each worker that the server asks for; each connects by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "worker/frames.h"
#include "worker/link.h"
#include "worker/spawn.h"

namespace altlas::worker {

struct NodeAgentOptions {
  TlsAddress server;
  NodeOffer offer;
  // What a worker's process is started with, but for what names the worker and its token.
  SpawnOptions spawn;
  int64_t connect_max = 60 * kSecond;  // A server that does not listen yet is waited for so long.
  // A server not heard for so long is gone.
  int64_t silence_max = 10 * kSecond;
  std::function<void()> joined;  // The server has taken the offer. May be empty.
};

// Runs until the server is gone or says goodbye, or SIGTERM or SIGINT comes; its processes are
// killed then. Gives a WorkerExit, which the process exits with, and why, for the log.
// Threads: the calling one; it must be the process' first, whose end its workers don't survive.
int run_node_agent(const NodeAgentOptions& options, std::string* message);

}  // namespace altlas::worker
