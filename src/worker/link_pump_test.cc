// Tests of the server's side of the links with real worker pumps, without a socket or a clock.
#include "worker/link_pump.h"

#include <gtest/gtest.h>

#include <map>

#include "worker/worker_pump.h"

namespace altlas::worker {
namespace {

constexpr WorkerId kLeader{ReplicaId{7}, 0}, kFollower{ReplicaId{7}, 1};

// A pump and workers; bytes arrive as soon as they are written.
class Wires {
 public:
  explicit Wires(LinkPumpOptions options = {}) : pump(options) {}

  static SessionOptions session(WorkerId worker, uint64_t epoch, std::string token) {
    SessionOptions options;
    options.worker = worker;
    options.epoch = epoch;
    options.token = std::move(token);
    options.pid = 100 + static_cast<int32_t>(worker.index);
    options.silence_max = 60 * kSecond;
    return options;
  }
  ConnectionId connect(WorkerPump& worker) {
    const ConnectionId id{next_++};
    workers[id] = &worker;
    pump.connected(now, id);
    worker.connected(now);
    run();
    return id;
  }
  void cut(ConnectionId id) {
    WorkerPump* worker = workers.at(id);
    workers.erase(id);
    pump.disconnected(now, id);
    worker->disconnected(now);
    run();
  }
  void run() {
    for (bool more = true; more;) {
      more = false;
      for (LinkAction& action : pump.take_actions()) {
        more = true;
        carry_out(action);
      }
      const auto all = workers;
      for (const auto& [id, worker] : all)
        for (WorkerAction& action : worker->take_actions(now)) {
          more = true;
          if (auto* write = std::get_if<WriteBytes>(&action)) pump.on_bytes(now, id, write->bytes);
          if (auto* start = std::get_if<StartEngine>(&action))
            loads.push_back(start->load.model_path);
          if (auto* end = std::get_if<EndProcess>(&action)) ends.push_back(end->message);
        }
      pump.check_integrity();
    }
  }
  void carry_out(LinkAction& action) {
    if (auto* write = std::get_if<LinkWrite>(&action))
      if (const auto found = workers.find(write->connection); found != workers.end())
        found->second->on_bytes(now, write->bytes);
    if (auto* close = std::get_if<LinkClose>(&action)) closed.push_back(close->connection);
    if (auto* opened = std::get_if<LinkOpened>(&action)) ups[opened->worker] = opened->pid;
    if (auto* said = std::get_if<LinkReport>(&action)) ++reports[said->worker];
    if (auto* lost = std::get_if<LinkLost>(&action)) losses[lost->worker] = lost->reason;
  }

  TimeUs now = kSecond;
  LinkPump pump;
  std::map<ConnectionId, WorkerPump*> workers;
  std::map<WorkerId, int32_t> ups;
  std::map<WorkerId, size_t> reports;
  std::map<WorkerId, std::string> losses;
  std::vector<ConnectionId> closed;
  std::vector<std::string> loads, ends;

 private:
  uint64_t next_ = 1;
};

engine::LoadReplica load(std::string path) {
  engine::LoadReplica out;
  out.model_path = std::move(path);
  return out;
}

// Goal: a replica's workers are told apart: the second does not throw out the first, and each gets
// its own commands and makes its own reports.
TEST(LinkPump, WorkersOfOneReplicaLiveBesideEachOther) {
  Wires wires;
  WorkerPump leader(Wires::session(kLeader, 1, "a"), wires.now);
  WorkerPump follower(Wires::session(kFollower, 1, "b"), wires.now);
  wires.pump.expect(wires.now, kLeader, 1, "a");
  wires.pump.expect(wires.now, kFollower, 1, "b");
  wires.pump.send(wires.now, kFollower, load("second"));  // The command waits for its worker.
  wires.connect(leader);
  wires.connect(follower);
  wires.pump.send(wires.now, kLeader, load("first"));
  wires.run();
  EXPECT_EQ(wires.ups, (std::map<WorkerId, int32_t>{{kLeader, 100}, {kFollower, 101}}));
  EXPECT_EQ(wires.loads, (std::vector<std::string>{"second", "first"}));
  leader.report(engine::ReplicaDrained{});
  follower.report(engine::LoadProgress{"weights", 0.5});
  wires.run();
  EXPECT_EQ(wires.reports, (std::map<WorkerId, size_t>{{kLeader, 1}, {kFollower, 1}}));
  wires.pump.stop_worker(wires.now, kFollower, "over");
  wires.run();
  EXPECT_TRUE(wires.pump.expects(kLeader));
  EXPECT_TRUE(follower.ended());
  EXPECT_FALSE(leader.ended());
  EXPECT_TRUE(wires.losses.empty());
}

// Goal: nobody gets in under another's name: a wrong token, epoch, index or replica ends its own
// connection with the reason and disturbs nobody.
TEST(LinkPump, StrangersAreRefusedWithTheReason) {
  struct Case {
    WorkerId worker;
    uint64_t epoch;
    const char* token;
    const char* reason;
  };
  const Case cases[] = {
      {kLeader, 2, "guess", "wrong token for replica 7"},
      {kLeader, 1, "a", "replica 7 is in epoch 2, not 1: this worker was replaced"},
      {kLeader, 3, "a", "replica 7 is in epoch 2, not 3: this worker was replaced"},
      {kFollower, 2, "a", "worker 1 of replica 7 is not expected"},
      {WorkerId{ReplicaId{8}}, 2, "a", "replica 8 is not expected"},
  };
  Wires wires;
  wires.pump.expect(wires.now, kLeader, 2, "a");
  WorkerPump leader(Wires::session(kLeader, 2, "a"), wires.now);
  wires.connect(leader);
  for (const Case& one : cases) {
    WorkerPump stranger(Wires::session(one.worker, one.epoch, one.token), wires.now);
    const ConnectionId id = wires.connect(stranger);
    ASSERT_TRUE(stranger.ended()) << one.reason;
    EXPECT_EQ(wires.ends.back(), std::string("the server ended the link: ") + one.reason);
    EXPECT_EQ(wires.closed.back(), id);
    wires.workers.erase(id);
  }
  leader.report(engine::ReplicaDrained{});
  wires.run();
  EXPECT_EQ(wires.reports[kLeader], 1u);
  EXPECT_TRUE(wires.losses.empty());
}

// Goal: limits hold: for connections that say nothing, for too many of them, and for commands that
// nobody reads.
TEST(LinkPump, LimitsHold) {
  Wires wires({.unknown_max = 2, .commands_max = 3});
  for (uint64_t i = 1; i <= 3; ++i) wires.pump.connected(wires.now, ConnectionId{i});
  wires.run();
  EXPECT_EQ(wires.closed, (std::vector<ConnectionId>{ConnectionId{3}}));
  EXPECT_EQ(wires.pump.next_deadline(), wires.now + 5 * kSecond);
  wires.now += 5 * kSecond;
  wires.pump.tick(wires.now);
  wires.run();
  EXPECT_EQ(wires.closed.size(), 3u);
  EXPECT_EQ(wires.pump.next_deadline(), INT64_MAX);
  wires.pump.expect(wires.now, kLeader, 1, "a");
  for (int i = 0; i < 4; ++i) wires.pump.send(wires.now, kLeader, engine::DrainReplica{});
  wires.run();
  EXPECT_EQ(wires.losses[kLeader], "the worker left 3 commands unread");
  wires.pump.send(wires.now, kLeader, engine::DrainReplica{});  // Nobody is connected.
  EXPECT_FALSE(wires.pump.expects(kLeader));
}

// Goal: a broken connection loses nothing if the worker comes back in time; otherwise the worker is
// lost.
TEST(LinkPump, BrokenConnectionsAreBridged) {
  Wires wires;
  wires.pump.expect(wires.now, kLeader, 1, "a");
  WorkerPump leader(Wires::session(kLeader, 1, "a"), wires.now);
  ConnectionId id = wires.connect(leader);
  wires.cut(id);
  leader.report(engine::ReplicaDrained{});
  wires.run();
  EXPECT_EQ(wires.reports[kLeader], 0u);
  id = wires.connect(leader);
  EXPECT_EQ(wires.reports[kLeader], 1u);
  wires.cut(id);
  while (wires.losses.empty() && wires.now < 100 * kSecond) {
    wires.now = wires.pump.next_deadline();
    wires.pump.tick(wires.now);
    wires.run();
  }
  EXPECT_TRUE(wires.losses[kLeader].starts_with("nothing was heard from the worker"))
      << wires.losses[kLeader];
  EXPECT_LT(wires.now, 10 * kSecond);
  WorkerPump second(Wires::session(kLeader, 1, "a"), wires.now);
  wires.connect(second);
  EXPECT_TRUE(second.ended()) << "what is lost does not come back";
}

// Goal: a worker whose engine has ended ends once the server has its last reports, and says why.
TEST(WorkerPump, EndsWithItsEngine) {
  Wires wires;
  wires.pump.expect(wires.now, kLeader, 1, "a");
  WorkerPump leader(Wires::session(kLeader, 1, "a"), wires.now);
  wires.connect(leader);
  wires.pump.send(wires.now, kLeader, load("missing"));
  wires.run();
  leader.report(engine::LoadFailed{ErrorCode::kNotFound, "no such file"});
  leader.engine_ended(wires.now, not_found("no such file"));
  wires.run();
  EXPECT_EQ(wires.reports[kLeader], 1u);
  EXPECT_FALSE(leader.ended()) << "the report is not acknowledged yet";
  wires.now += kSecond / 10;
  wires.pump.tick(wires.now);
  wires.run();
  ASSERT_TRUE(leader.ended());
  EXPECT_EQ(wires.ends.back(), "the engine ended: no such file");
}

// Goal: credit is given for what the engine took, not for what arrived.
TEST(WorkerPump, AFullEngineHoldsTheServerBack) {
  Wires wires;
  wires.pump.expect(wires.now, kLeader, 1, "a");
  WorkerPump leader(Wires::session(kLeader, 1, "a"), wires.now);
  wires.connect(leader);
  wires.pump.send(wires.now, kLeader, load("m"));
  for (uint64_t i = 0; i < 3000; ++i)
    wires.pump.send(wires.now, kLeader, engine::CancelSequence{SequenceId{i}});
  wires.run();
  uint64_t took = 0;
  const auto take_all = [&] {
    for (; leader.command() != nullptr; leader.took_command(wires.now))
      EXPECT_EQ(std::get<engine::CancelSequence>(*leader.command()).sequence.value, took++);
  };
  take_all();
  EXPECT_GT(took, 0u);
  EXPECT_LE(took, 1024u);
  while (took < 3000) {
    const uint64_t before = took;
    wires.run();
    take_all();
    if (took == before) {
      wires.now += 20 * kMillisecond;
      leader.tick(wires.now);
    }
    ASSERT_LT(wires.now, 60 * kSecond);
  }
  EXPECT_EQ(took, 3000u);
}

// A node's end of its link.
class NodeEnd {
 public:
  NodeEnd(LinkPump& pump, TimeUs now, uint64_t connection, const std::string& certificate,
          uint32_t version = kProtocolVersion)
      : pump_(pump), id_(ConnectionId{connection}), session_(options(version), now) {
    pump_.connected(now, id_);
    pump_.certified(id_, certificate);
    session_.connected(now);
  }
  void say(TimeUs now, NodeMessage message) {
    ASSERT_TRUE(session_.send(now, Message(std::move(message))).ok());
  }
  // Carries bytes both ways; returns what the pump asks for beside.
  std::vector<LinkAction> run(TimeUs now) {
    std::vector<LinkAction> out;
    for (bool more = true; more;) {
      more = false;
      for (SessionAction& action : session_.take_actions()) {
        more = true;
        if (auto* write = std::get_if<WriteBytes>(&action)) pump_.on_bytes(now, id_, write->bytes);
        if (auto* delivered = std::get_if<Deliver>(&action))
          got.push_back(std::get<NodeMessage>(delivered->message));
        if (auto* failed = std::get_if<LinkFailed>(&action)) failure = failed->error.message();
      }
      for (LinkAction& action : pump_.take_actions()) {
        more = true;
        auto* write = std::get_if<LinkWrite>(&action);
        if (write != nullptr && write->connection == id_) session_.on_bytes(now, write->bytes);
        if (write == nullptr) out.push_back(std::move(action));
      }
      pump_.check_integrity();
    }
    return out;
  }
  std::vector<NodeMessage> got;
  std::string failure;

 private:
  static SessionOptions options(uint32_t version) {
    SessionOptions out;
    out.topic = SessionTopic::kNode;
    out.worker = {kNodeReplica, 0};
    out.version = version;
    return out;
  }
  LinkPump& pump_;
  const ConnectionId id_;
  Session session_;
};

// Goal: a node is whom its certificate names; the newest connection counts, and a broken one is the
// node's end.
TEST(LinkPump, NodesAreKnownByTheirCertificates) {
  const TimeUs now = kSecond;
  LinkPump pump{LinkPumpOptions()};
  pump.expect_node(1, "beta");
  pump.expect_node(2, "gamma");
  NodeEnd beta(pump, now, 1, "beta");
  beta.say(now, NodeOffer{{{"a", "cpu", "cpu", 1, 0}}});
  const auto joined = beta.run(now);
  ASSERT_EQ(joined.size(), 1u);
  EXPECT_EQ(std::get<LinkNodeSaid>(joined[0]).node, 1u);
  pump.send_to_node(now, 1, KillWorker{kLeader});
  pump.send_to_node(now, 2, KillWorker{kLeader});  // It is not connected.
  beta.run(now);
  ASSERT_EQ(beta.got.size(), 1u);
  NodeEnd again(pump, now, 2, "beta");
  const auto anew = again.run(now);
  ASSERT_EQ(anew.size(), 2u) << "the old connection is closed, the node was lost";
  EXPECT_TRUE(std::holds_alternative<LinkClose>(anew[0]));
  EXPECT_EQ(std::get<LinkNodeLost>(anew[1]).reason, "it connected anew");
  pump.disconnected(now, ConnectionId{2});
  const auto gone = pump.take_actions();
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(std::get<LinkNodeLost>(gone[0]).node, 1u);
}

TEST(LinkPump, OtherNodesAreRefusedWithTheReason) {
  struct Case {
    const char* certificate;
    uint32_t version;
    const char* reason;
  };
  const Case cases[] = {
      {"", kProtocolVersion, "a node shows a certificate first"},
      {"delta", kProtocolVersion, "does not expect 'delta'"},
      {"beta ", kProtocolVersion, "does not expect 'beta '"},
      {"beta", kProtocolVersion + 1, "both must be the same altlas"},
      {"beta", 0, "speaks protocol version 0"},
  };
  LinkPump pump{LinkPumpOptions()};
  pump.expect_node(1, "beta");
  uint64_t connection = 0;
  for (const Case& one : cases) {
    NodeEnd stranger(pump, kSecond, ++connection, one.certificate, one.version);
    const auto said = stranger.run(kSecond);
    EXPECT_NE(stranger.failure.find(one.reason), std::string::npos) << stranger.failure;
    ASSERT_EQ(said.size(), 1u);
    EXPECT_NE(std::get<LinkClose>(said[0]).refused.find(one.reason), std::string::npos);
  }
}

// Goal: a worker that a node was asked to start comes from that node, and from nowhere else.
TEST(LinkPump, AWorkerComesFromItsNode) {
  for (const char* host : {"beta", "gamma", ""}) {
    Wires wires;
    wires.pump.expect(wires.now, kLeader, 1, "a", "beta");
    WorkerPump worker(Wires::session(kLeader, 1, "a"), wires.now);
    const ConnectionId id{77};
    wires.workers[id] = &worker;
    wires.pump.connected(wires.now, id);
    wires.pump.certified(id, host);
    worker.connected(wires.now);
    wires.run();
    EXPECT_EQ(worker.ended(), std::string_view(host) != "beta") << host;
  }
}

// Goal: on a node's link nothing else passes, in either direction.
TEST(LinkPump, ANodeSaysWhatNodesSay) {
  const Message wrong[] = {Message(engine::Report(engine::ReplicaDrained{})),
                           Message(NodeMessage(KillWorker{kLeader})), Message(StepResult{})};
  for (const Message& message : wrong) {
    LinkPump pump{LinkPumpOptions()};
    pump.expect_node(1, "beta");
    NodeEnd beta(pump, kSecond, 1, "beta");
    beta.run(kSecond);
    Frame frame;
    frame.sequence = 1;
    std::visit([&](const auto& value) { frame.body = value; }, message);
    pump.on_bytes(kSecond, ConnectionId{1}, encode_frame(frame).value());
    bool lost = false;
    for (const LinkAction& action : pump.take_actions())
      lost = lost || std::holds_alternative<LinkNodeLost>(action);
    EXPECT_TRUE(lost);
  }
}

}  // namespace
}  // namespace altlas::worker
