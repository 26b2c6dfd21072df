// The server's side of its workers' links, driven by a LinkPump: a Unix socket in a private folder,
// or a TCP address under mutual TLS.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "collective/tls.h"
#include "engine/messages.h"
#include "worker/frames.h"

namespace boost::asio {
class io_context;
}

namespace altlas::worker {

// Where workers of other machines connect.
struct TlsAddress {
  std::string host;
  uint16_t port = 0;  // To listen: 0 takes a free one.
  std::shared_ptr<const collective::TlsIdentity> identity;
};

struct LinkOptions {
  // One of the two. The folder is made with mode 0700 and belongs to this server alone; the socket
  // is in it.
  std::string directory;
  std::optional<TlsAddress> tls;
  int64_t ping_interval = kSecond;
  int64_t silence_max = 4 * kSecond;  // A worker not heard for so long is lost.
  uint32_t unknown_max = 64;        // Connections that have not said who they are; more are closed.
  int64_t hello_max = 5 * kSecond;  // They are closed after so long.
  uint32_t commands_max = 1 << 16;  // Waiting for one worker's credit; more: it is lost.
};

// Called one at a time, on the link's strand; they may call the link. After expect(), a worker's
// calls are: connected once, reports, then lost once; nothing after lost, nor after stop_worker().
struct LinkCallbacks {
  std::function<void(WorkerId, int32_t pid)> connected;
  std::function<void(WorkerId, engine::Report)> report;
  std::function<void(WorkerId, std::string reason)> lost;
  // Under TLS only; may be empty otherwise. As LinkNodeSaid and LinkNodeLost.
  std::function<void(uint32_t node, NodeMessage)> node_said;
  std::function<void(uint32_t node, std::string reason)> node_lost;
};

// Threads: every member from any thread; calls from one thread are carried out in its order.
// Lifetime: the io_context outlives it; after stop() no callback runs.
class LinkServer {
 public:
  LinkServer(boost::asio::io_context& context, LinkOptions options, LinkCallbacks callbacks);
  ~LinkServer();  // As stop(); the io_context must run, or have been stopped.
  LinkServer(const LinkServer&) = delete;
  LinkServer& operator=(const LinkServer&) = delete;

  // Listens.  Errors: kInvalid for a folder that others can enter or a path that is too long,
  // kNotFound for a host that is not known, kIo.
  Result<void> start();
  // Says goodbye to every worker, closes and removes the socket.
  void stop();
  const std::string& socket_path() const;
  uint16_t port() const;  // Once it listens, under TLS.

  // From now on a worker with this token and epoch may connect as `worker`. One that was expected
  // before is replaced: it is fenced. `host`: whose certificate it must show; empty over a Unix
  // socket.
  void expect(WorkerId worker, uint64_t epoch, std::string token, std::string host = "");
  void expect_node(uint32_t node, std::string host);  // As LinkPump has it.
  void send_to_node(uint32_t node, NodeMessage message);
  // Sends once the worker is connected and has room. Without a link to come it is dropped: `lost`
  // was called.
  void send(WorkerId worker, engine::Command command);
  // Says goodbye (the worker then exits with kExitStopped) and forgets it.
  void stop_worker(WorkerId worker, std::string reason);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace altlas::worker
