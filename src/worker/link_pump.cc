#include "worker/link_pump.h"

#include <fmt/format.h>

#include "base/check.h"

namespace altlas::worker {
namespace {

bool is_node(WorkerId worker) { return worker.replica == kNodeReplica; }

std::string name_of(WorkerId worker) {
  return worker.index == 0
             ? fmt::format("replica {}", worker.replica.value)
             : fmt::format("worker {} of replica {}", worker.index, worker.replica.value);
}

}  // namespace

void LinkPump::set_deadline(TimeUs& deadline, TimeUs time, Who who) {
  if (deadline == time) return;
  if (deadline != INT64_MAX) deadlines_.erase({deadline, who});
  deadline = time;
  if (time != INT64_MAX) deadlines_.insert({time, who});
}

void LinkPump::expect(TimeUs now, WorkerId worker, uint64_t epoch, std::string token,
                      std::string host) {
  stop_worker(now, worker, "replaced by a newer start of the replica");
  Peer& peer = peers_[worker];
  peer.host = std::move(host);
  SessionOptions& options = peer.options;
  options.role = SessionRole::kServer;
  options.worker = worker;
  options.epoch = epoch;
  options.token = std::move(token);
  options.pid = options_.pid;
  options.silence_max = options_.silence_max;
  options.ping_interval = options_.ping_interval;
}

void LinkPump::send(TimeUs now, WorkerId worker, engine::Command command) {
  send_message(now, worker, Message(std::move(command)));
}

void LinkPump::send_to_node(TimeUs now, uint32_t node, NodeMessage message) {
  send_message(now, {kNodeReplica, node}, Message(std::move(message)));
}

void LinkPump::send_message(TimeUs now, WorkerId worker, Message message) {
  const auto found = peers_.find(worker);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  if (peer.messages.size() >= options_.commands_max)
    return lose(now, worker,
                fmt::format("the worker left {} commands unread", peer.messages.size()));
  peer.messages.push_back(std::move(message));
  pump(now, worker);
}

void LinkPump::stop_worker(TimeUs now, WorkerId worker, const std::string& reason) {
  if (const auto found = peers_.find(worker); found != peers_.end()) forget(now, found, reason);
}

void LinkPump::stop(TimeUs now) {
  while (!peers_.empty()) forget(now, peers_.begin(), "the server stops");
  while (!lines_.empty()) close(lines_.begin()->first);
}

void LinkPump::connected(TimeUs now, ConnectionId connection) {
  Line& line = lines_[connection];
  ++unknown_;
  if (unknown_ > options_.unknown_max)
    return close(connection, fmt::format("{} connections have not said who they are yet",
                                         options_.unknown_max));
  set_deadline(line.deadline, now + options_.hello_max, connection);
}

void LinkPump::certified(ConnectionId connection, std::string host) {
  if (const auto found = lines_.find(connection); found != lines_.end())
    found->second.host = std::move(host);
}

void LinkPump::on_bytes(TimeUs now, ConnectionId connection, std::string_view bytes) {
  const auto found = lines_.find(connection);
  if (found == lines_.end()) return;
  Line& line = found->second;
  if (line.worker) {
    const WorkerId worker = *line.worker;
    peers_.at(worker).session->on_bytes(now, bytes);
    return pump(now, worker);
  }
  line.reader.feed(bytes);
  const auto message = line.reader.next();
  if (!message.ok()) return refuse(connection, message.error().message());
  if (!*message) return;
  Result<Frame> frame = decode_frame(**message);
  if (!frame.ok()) return refuse(connection, frame.error().message());
  if (!std::holds_alternative<Hello>(frame->body))
    return refuse(connection, "a worker says hello first");
  adopt(now, connection, std::move(frame).value());
}

void LinkPump::adopt(TimeUs now, ConnectionId connection, Frame frame) {
  const Hello& hello = std::get<Hello>(frame.body);
  const WorkerId worker = hello.worker;
  if (is_node(worker)) return adopt_node(now, connection, std::move(frame));
  const auto found = peers_.find(worker);
  if (found == peers_.end())
    return refuse(connection, name_of(worker) + " is not expected", frame.epoch);
  Peer& peer = found->second;
  if (frame.epoch != peer.options.epoch)
    return refuse(connection,
                  fmt::format("{} is in epoch {}, not {}: this worker was replaced",
                              name_of(worker), peer.options.epoch, frame.epoch),
                  frame.epoch);
  if (!same_token(hello.token, peer.options.token))
    return refuse(connection, "wrong token for " + name_of(worker), frame.epoch);
  if (lines_.at(connection).host != peer.host)
    return refuse(connection,
                  fmt::format("{} runs on '{}', not on '{}'", name_of(worker), peer.host,
                              lines_.at(connection).host),
                  frame.epoch);
  attach(now, connection, worker, std::move(frame));
}

void LinkPump::adopt_node(TimeUs now, ConnectionId connection, Frame frame) {
  Hello& hello = std::get<Hello>(frame.body);
  const std::string host = lines_.at(connection).host;
  const auto found = nodes_.find(host);
  if (host.empty()) return refuse(connection, "a node shows a certificate first", frame.epoch);
  if (found == nodes_.end())
    return refuse(
        connection,
        fmt::format("this server does not expect '{}': its cluster.workers names others", host),
        frame.epoch);
  if (hello.version != kProtocolVersion)
    return refuse(connection,
                  fmt::format("the worker '{}' speaks protocol version {}, this server version {}: "
                              "both must be the same altlas",
                              host, hello.version, kProtocolVersion),
                  frame.epoch);
  const WorkerId node{kNodeReplica, found->second};
  if (peers_.contains(node)) lose(now, node, "it connected anew");
  expect(now, node, frame.epoch, hello.token, host);
  peers_.at(node).options.topic = SessionTopic::kNode;
  hello.worker = node;
  attach(now, connection, node, std::move(frame));
}

// From here on the connection is the worker's, whose hello is `frame`.
void LinkPump::attach(TimeUs now, ConnectionId connection, WorkerId worker, Frame frame) {
  Peer& peer = peers_.at(worker);
  if (peer.connection) close(*peer.connection);
  Line& line = lines_.at(connection);
  set_deadline(line.deadline, INT64_MAX, connection);
  line.worker = worker;
  --unknown_;
  peer.connection = connection;
  if (!peer.session) peer.session.emplace(peer.options, now);
  peer.session->connected(now);
  peer.session->on_frame(now, std::move(frame));
  peer.session->on_bytes(now, line.reader.rest());
  pump(now, worker);
}

void LinkPump::refuse(ConnectionId connection, const std::string& reason, uint64_t epoch) {
  Frame frame;
  frame.epoch = epoch;
  frame.body = Goodbye{reason};
  actions_.push_back(LinkWrite{connection, encode_frame(frame).value()});
  close(connection, reason);
}

void LinkPump::disconnected(TimeUs now, ConnectionId connection) {
  const auto found = lines_.find(connection);
  if (found == lines_.end()) return;
  const std::optional<WorkerId> worker = found->second.worker;
  set_deadline(found->second.deadline, INT64_MAX, connection);
  if (!worker) --unknown_;
  lines_.erase(found);
  if (!worker) return;
  Peer& peer = peers_.at(*worker);
  peer.connection.reset();
  if (is_node(*worker)) return lose(now, *worker, "its connection ended");
  peer.session->disconnected(now);
  pump(now, *worker);
}

void LinkPump::tick(TimeUs now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const Who who = deadlines_.begin()->second;
    if (const auto* connection = std::get_if<ConnectionId>(&who)) {
      refuse(*connection, "no hello came in time");
      continue;
    }
    const WorkerId worker = std::get<WorkerId>(who);
    Peer& peer = peers_.at(worker);
    set_deadline(peer.deadline, INT64_MAX, worker);
    peer.session->tick(now);
    pump(now, worker);
    // A session that asks for the time that has just passed is ticked again by the next call.
    if (peers_.contains(worker) && peers_.at(worker).deadline <= now) return;
  }
}

// Does what the worker's session asks for, until it asks for nothing.
void LinkPump::pump(TimeUs now, WorkerId worker) {
  Peer& peer = peers_.at(worker);
  if (!peer.session) return;
  for (bool more = true; more;) {
    while (!peer.messages.empty() && peer.session->can_send()) {
      const Result<void> sent = peer.session->send(now, std::move(peer.messages.front()));
      peer.messages.pop_front();
      if (!sent.ok()) return lose(now, worker, sent.error().message());
    }
    std::vector<SessionAction> actions = peer.session->take_actions();
    more = !actions.empty();
    for (SessionAction& action : actions)
      if (!carry_out(now, worker, peer, action)) return;
  }
  set_deadline(peer.deadline, peer.session->next_deadline(), worker);
}

// Returns false if the worker is lost.
bool LinkPump::carry_out(TimeUs now, WorkerId worker, Peer& peer, SessionAction& action) {
  if (auto* write = std::get_if<WriteBytes>(&action); write != nullptr && peer.connection)
    actions_.push_back(LinkWrite{*peer.connection, std::move(write->bytes)});
  if (auto* up = std::get_if<LinkUp>(&action); up != nullptr && !up->again && !is_node(worker))
    actions_.push_back(LinkOpened{worker, up->pid});
  if (auto* delivered = std::get_if<Deliver>(&action)) {
    if (is_node(worker))
      actions_.push_back(
          LinkNodeSaid{worker.index, std::get<NodeMessage>(std::move(delivered->message))});
    else
      actions_.push_back(
          LinkReport{worker, std::get<engine::Report>(std::move(delivered->message))});
    peer.session->consumed(now, 1);
  }
  if (auto* failed = std::get_if<LinkFailed>(&action)) {
    lose(now, worker, failed->error.message());
    return false;
  }
  return true;
}

void LinkPump::lose(TimeUs now, WorkerId worker, const std::string& reason) {
  forget(now, peers_.find(worker), reason);
  if (is_node(worker))
    actions_.push_back(LinkNodeLost{worker.index, reason});
  else
    actions_.push_back(LinkLost{worker, reason});
}

void LinkPump::forget(TimeUs now, std::map<WorkerId, Peer>::iterator found,
                      const std::string& reason) {
  const WorkerId worker = found->first;
  Peer& peer = found->second;
  set_deadline(peer.deadline, INT64_MAX, worker);
  if (peer.connection) {
    peer.session->goodbye(now, reason);
    for (SessionAction& action : peer.session->take_actions())
      if (auto* write = std::get_if<WriteBytes>(&action))
        actions_.push_back(LinkWrite{*peer.connection, std::move(write->bytes)});
    close(*peer.connection);
  }
  peers_.erase(worker);
}

void LinkPump::close(ConnectionId connection, std::string refused) {
  const auto found = lines_.find(connection);
  if (found == lines_.end()) return;
  set_deadline(found->second.deadline, INT64_MAX, connection);
  if (found->second.worker)
    peers_.at(*found->second.worker).connection.reset();
  else
    --unknown_;
  lines_.erase(found);
  actions_.push_back(LinkClose{connection, std::move(refused)});
}

void LinkPump::check_integrity() const {
  uint32_t unknown = 0;
  size_t deadlines = 0;
  for (const auto& [connection, line] : lines_) {
    deadlines += line.deadline != INT64_MAX ? 1 : 0;
    if (!line.worker) {
      ++unknown;
      continue;
    }
    const auto peer = peers_.find(*line.worker);
    ALTLAS_CHECK(peer != peers_.end() && peer->second.connection == connection,
                 "a worker's connection is that of the worker");
  }
  ALTLAS_CHECK(unknown == unknown_, "connections without a name are counted");
  for (const auto& [worker, peer] : peers_) {
    deadlines += peer.deadline != INT64_MAX ? 1 : 0;
    ALTLAS_CHECK(!peer.connection || (peer.session && lines_.contains(*peer.connection)),
                 "a connected worker has said hello");
    if (peer.session) peer.session->check_integrity();
  }
  ALTLAS_CHECK(deadlines == deadlines_.size(), "every deadline is somebody's");
}

}  // namespace altlas::worker
