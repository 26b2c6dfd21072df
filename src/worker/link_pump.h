// LinkPump: the server's side of its workers' and nodes' links as a pure state machine: whom it
// expects, a session for each, messages that wait for credit, who is lost and why.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "engine/messages.h"
#include "worker/frames.h"
#include "worker/session.h"

namespace altlas::worker {

using ConnectionId = StrongId<struct ConnectionTag, uint64_t>;  // Chosen by the edge, never reused.

struct LinkPumpOptions {
  int64_t silence_max = 4 * kSecond;  // A worker not heard for so long is lost.
  uint32_t unknown_max = 64;        // Connections that have not said who they are; more are closed.
  int64_t hello_max = 5 * kSecond;  // They are closed after so long.
  uint32_t commands_max = 1 << 16;  // Waiting for one worker's credit; more: it is lost.
  int32_t pid = 0;                  // The pid of this process, for the workers.
  int64_t ping_interval = kSecond;
};

// ---- What the edge must do, in order ----
// To a connection that the edge knows to be gone: nothing.
struct LinkWrite {
  ConnectionId connection;
  std::string bytes;
};
// After what was written has gone out. Nothing of this connection is to be handed in any more.
struct LinkClose {
  ConnectionId connection;
  std::string refused;  // Why it was never taken, for the log; empty: it was.
};
struct LinkOpened {
  WorkerId worker;
  int32_t pid = 0;
};
struct LinkReport {
  WorkerId worker;
  engine::Report report;
};
struct LinkLost {
  WorkerId worker;
  std::string reason;
};
// A node's first message is its NodeOffer; one that comes again begins with another.
struct LinkNodeSaid {
  uint32_t node = 0;
  NodeMessage message;
};
struct LinkNodeLost {
  uint32_t node = 0;
  std::string reason;
};
using LinkAction = std::variant<LinkWrite, LinkClose, LinkOpened, LinkReport, LinkLost,
                                LinkNodeSaid, LinkNodeLost>;

// Threads: one. `now` never goes back. After expect(), a worker's actions are: opened once,
// reports, then lost once; nothing after lost, nor after stop_worker().
class LinkPump {
 public:
  explicit LinkPump(LinkPumpOptions options) : options_(options) {}

  // From now on a worker with this token and epoch may connect as `worker`. One that was expected
  // before is replaced: it is fenced. `host`: as the connection was certified; empty: it was not.
  void expect(TimeUs now, WorkerId worker, uint64_t epoch, std::string token,
              std::string host = "");
  // From now on whoever is certified as `host` may connect as this node, again and again; the
  // newest connection counts.
  void expect_node(uint32_t node, std::string host) { nodes_[std::move(host)] = node; }
  // Sends once the worker is connected and has room. Without a link to come it is dropped: `lost`
  // was said.
  void send(TimeUs now, WorkerId worker, engine::Command command);
  // To a node that is not connected: nothing.
  void send_to_node(TimeUs now, uint32_t node, NodeMessage message);
  // Says goodbye, closes and forgets the worker.
  void stop_worker(TimeUs now, WorkerId worker, const std::string& reason);
  // The same for all, and every other connection is closed.
  void stop(TimeUs now);

  void connected(TimeUs now, ConnectionId connection);
  // The edge knows, by a certificate, who is at the other end. Before on_bytes().
  void certified(ConnectionId connection, std::string host);
  void on_bytes(TimeUs now, ConnectionId connection, std::string_view bytes);
  // It broke: its worker has silence_max to come back.
  void disconnected(TimeUs now, ConnectionId connection);
  void tick(TimeUs now);

  TimeUs next_deadline() const {
    return deadlines_.empty() ? INT64_MAX : deadlines_.begin()->first;
  }
  std::vector<LinkAction> take_actions() { return std::exchange(actions_, {}); }
  // Whether the other end has not said, credibly, who it is.
  bool is_unknown(ConnectionId connection) const {
    const auto found = lines_.find(connection);
    return found != lines_.end() && !found->second.worker;
  }
  bool expects(WorkerId worker) const { return peers_.contains(worker); }
  void check_integrity() const;  // Aborts if the state contradicts itself.

 private:
  // A worker that may connect, or is connected.
  struct Peer {
    SessionOptions options;
    std::optional<Session> session;  // From the first hello on.
    std::optional<ConnectionId> connection;
    std::deque<Message> messages;  // Waiting for credit.
    std::string host;              // As Line::host must be.
    TimeUs deadline = INT64_MAX;           // In deadlines_.
  };
  // A connection: of a worker, or of somebody who has not said who it is.
  struct Line {
    std::optional<WorkerId> worker;
    std::string host;  // As it was certified; empty: it was not.
    FrameReader reader{kHelloBytesMax};
    TimeUs deadline = INT64_MAX;  // In deadlines_.
  };
  using Who = std::variant<WorkerId, ConnectionId>;

  void adopt(TimeUs now, ConnectionId connection, Frame frame);
  void adopt_node(TimeUs now, ConnectionId connection, Frame frame);
  void attach(TimeUs now, ConnectionId connection, WorkerId worker, Frame frame);
  void send_message(TimeUs now, WorkerId worker, Message message);
  // `epoch`: what the other end says it is in, so that it hears the reason.
  void refuse(ConnectionId connection, const std::string& reason, uint64_t epoch = 0);
  void pump(TimeUs now, WorkerId worker);
  bool carry_out(TimeUs now, WorkerId worker, Peer& peer, SessionAction& action);
  void lose(TimeUs now, WorkerId worker, const std::string& reason);
  void forget(TimeUs now, std::map<WorkerId, Peer>::iterator peer, const std::string& reason);
  void close(ConnectionId connection, std::string refused = "");
  void set_deadline(TimeUs& deadline, TimeUs time, Who who);

  const LinkPumpOptions options_;
  std::map<WorkerId, Peer> peers_;  // A node is the worker of kNodeReplica with its index.
  std::map<std::string, uint32_t> nodes_;
  std::map<ConnectionId, Line> lines_;
  uint32_t unknown_ = 0;  // How many of lines_ have no worker.
  std::set<std::pair<TimeUs, Who>> deadlines_;
  std::vector<LinkAction> actions_;
};

}  // namespace altlas::worker
