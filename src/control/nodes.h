// Nodes: the machines that lend this server their devices: who is waited for, what each offers,
// and the workers that run there.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "control/core_setup.h"
#include "control/events.h"
#include "engine/messages.h"
#include "worker/link.h"

namespace boost::asio {
class io_context;
}

namespace altlas::control {

struct NodesOptions {
  worker::TlsAddress listen;
  // As their certificates have them. Node i + 1 is names[i].
  std::vector<std::string> names;
  int64_t ping_interval = kSecond;
  int64_t silence_max = 5 * kSecond;  // A node or worker not heard for so long is lost.
};

// What a launcher is told of its workers on nodes; one call at a time, on the links' strand.
struct NodeWorkerCallbacks {
  std::function<void(WorkerId, int32_t pid)> connected;
  std::function<void(WorkerId, engine::Report)> report;
  std::function<void(WorkerId, std::string reason)> link_lost;
  // Once for each spawn(): the process ended, or its node is gone.
  std::function<void(WorkerId, std::string reason)> exited;
  std::function<void(uint32_t node, bool up)> node_changed;
};

// Threads: every member from any thread. The io_context outlives it.
class Nodes {
 public:
  // Listens. Errors: kNotFound, kIo, naming the address.
  static Result<std::unique_ptr<Nodes>> listen(boost::asio::io_context& context,
                                               NodesOptions options);
  virtual ~Nodes() = default;  // As stop(); the io_context must run, or have been stopped.
  virtual uint16_t port() const = 0;
  virtual const std::string& name(uint32_t node) const = 0;

  // Waits until every node has made its offer; logs who is missing. By node, from 1.
  // Errors: kDeadline, naming those that did not come.
  virtual Result<std::vector<worker::NodeOffer>> wait_for_all(std::chrono::seconds timeout) = 0;

  // From now on what happens is told. Once, before the first spawn().
  virtual void attach(NodeWorkerCallbacks callbacks) = 0;
  // Starts a process there, expected as `worker`.
  virtual void spawn(uint32_t node, WorkerId worker, uint64_t epoch) = 0;
  virtual void kill(uint32_t node, WorkerId worker) = 0;
  virtual void send(WorkerId worker, engine::Command command) = 0;
  virtual void drop_link(WorkerId worker, std::string reason) = 0;
  // Says goodbye to all; no callback follows.
  virtual void stop() = 0;
};

// What the core is told of the node's devices when it goes or comes back.
std::vector<DeviceSampled> node_health(const CoreSetup& setup, uint32_t node, bool up);

}  // namespace altlas::control
