#include "worker/session.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>

#include "base/hash.h"
#include "base/philox.h"

namespace altlas::worker {
namespace {

SessionOptions options_of(SessionRole role) {
  SessionOptions options;
  options.role = role;
  options.worker = WorkerId{ReplicaId{3}};
  options.epoch = 5;
  options.token = "secret";
  options.pid = role == SessionRole::kServer ? 1 : 2;
  options.host = role == SessionRole::kServer ? "server" : "worker";
  return options;
}

engine::Command command(uint64_t number) { return engine::CancelSequence{SequenceId{number}}; }
engine::Report report(uint64_t number) { return engine::SequenceCanceled{SequenceId{number}, 1}; }

// A session and what it has asked for.
struct End {
  explicit End(SessionOptions options) : session(std::move(options), 0) {}
  // Carries out the actions: bytes go to `wire`, the rest to the fields.
  void pump(TimeUs now) {
    for (SessionAction& action : session.take_actions()) {
      if (auto* bytes = std::get_if<WriteBytes>(&action)) wire += bytes->bytes;
      if (auto* up = std::get_if<LinkUp>(&action)) ups.push_back(*up);
      if (auto* failed = std::get_if<LinkFailed>(&action)) failure = failed->error;
      if (auto* deliver = std::get_if<Deliver>(&action)) {
        if (auto* c = std::get_if<engine::Command>(&deliver->message))
          delivered.push_back(std::get<engine::CancelSequence>(*c).sequence.value);
        else
          delivered.push_back(
              std::get<engine::SequenceCanceled>(std::get<engine::Report>(deliver->message))
                  .sequence.value);
        if (consume) session.consumed(now, 1);
      }
    }
    session.check_integrity();
  }
  Session session;
  std::string wire;  // Bytes that were written, but not yet carried to the other end.
  std::vector<LinkUp> ups;
  std::vector<uint64_t> delivered;
  std::optional<Error> failure;
  bool consume = true;
};

// Carries everything both ways until nothing moves.
void settle(End& a, End& b, TimeUs now) {
  for (int i = 0; i < 100; ++i) {
    a.pump(now);
    b.pump(now);
    if (a.wire.empty() && b.wire.empty()) return;
    b.session.on_bytes(now, std::exchange(a.wire, ""));
    a.session.on_bytes(now, std::exchange(b.wire, ""));
  }
  ADD_FAILURE() << "the two ends never come to rest";
}

void connect(End& worker, End& server, TimeUs now) {
  worker.wire.clear();
  server.wire.clear();
  server.session.connected(now);
  worker.session.connected(now);
  settle(worker, server, now);
}

struct Pair {
  explicit Pair(SessionOptions worker_options = options_of(SessionRole::kWorker),
                SessionOptions server_options = options_of(SessionRole::kServer))
      : worker(std::move(worker_options)), server(std::move(server_options)) {
    connect(worker, server, 0);
  }
  End worker, server;
};

TEST(Session, HelloIntroducesBothEnds) {
  Pair pair;
  ASSERT_TRUE(pair.worker.session.up() && pair.server.session.up());
  ASSERT_EQ(pair.server.ups.size(), 1u);
  EXPECT_EQ(pair.server.ups[0].pid, 2);
  EXPECT_EQ(pair.server.ups[0].host, "worker");
  EXPECT_FALSE(pair.server.ups[0].again);
  ASSERT_EQ(pair.worker.ups.size(), 1u);
  EXPECT_EQ(pair.worker.ups[0].pid, 1);
}

TEST(Session, AnotherVersionIsRefusedByName) {
  auto options = options_of(SessionRole::kWorker);
  options.version = kProtocolVersion + 1;
  Pair pair(options);
  ASSERT_TRUE(pair.server.failure && pair.worker.failure);
  EXPECT_EQ(pair.server.failure->code(), ErrorCode::kUnsupported);
  EXPECT_EQ(pair.server.failure->message(),
            fmt::format("the worker speaks protocol version {}, this end version {}: both must be "
                        "the same altlas",
                        kProtocolVersion + 1, kProtocolVersion));
  EXPECT_EQ(pair.worker.failure->code(), ErrorCode::kCanceled);
  EXPECT_NE(
      pair.worker.failure->message().find(fmt::format("protocol version {}", kProtocolVersion + 1)),
      std::string::npos);
}

TEST(Session, WrongTokenOrReplicaIsRefused) {
  for (const bool token : {true, false}) {
    auto options = options_of(SessionRole::kWorker);
    if (token)
      options.token = "secreT";
    else
      options.worker = WorkerId{ReplicaId{4}};
    Pair pair(options);
    ASSERT_TRUE(pair.server.failure);
    EXPECT_EQ(pair.server.failure->code(), ErrorCode::kUnauthorized);
    EXPECT_TRUE(pair.worker.session.over());
  }
}

TEST(Session, OlderEpochIsFencedAndCounted) {
  auto options = options_of(SessionRole::kWorker);
  options.epoch = 4;
  Pair pair(options);
  EXPECT_FALSE(pair.server.session.up());
  EXPECT_FALSE(pair.server.session.over()) << "an old worker can't end the new one's session";
  EXPECT_EQ(pair.server.session.counts().fenced, 1u);
  Pair good;
  good.server.session.on_frame(1, Frame{4, 1, report(1)});
  good.server.pump(1);
  EXPECT_TRUE(good.server.delivered.empty());
  EXPECT_EQ(good.server.session.counts().fenced, 1u);
  good.worker.session.on_frame(1, Frame{6, 1, command(1)});
  good.worker.pump(1);
  ASSERT_TRUE(good.worker.failure);
  EXPECT_EQ(good.worker.failure->code(), ErrorCode::kConflict);
}

TEST(Session, StepsPassBetweenWorkersOnly) {
  auto worker = options_of(SessionRole::kWorker), server = options_of(SessionRole::kServer);
  Pair usual;
  usual.server.session.on_frame(1, Frame{5, 1, StepResult()});
  usual.server.pump(1);
  ASSERT_TRUE(usual.server.failure);
  EXPECT_NE(usual.server.failure->message().find("of one replica only"), std::string::npos);
  for (const bool plan : {true, false}) {
    worker.topic = SessionTopic::kSteps;
    Session follows(worker, 0);
    follows.connected(0);
    follows.on_frame(0, Frame{5, 0, HelloAck{kProtocolVersion, 1, "h", 0, 10}});
    follows.take_actions();
    if (plan)
      follows.on_frame(1, Frame{5, 1, StepPlan{.id = StepId{9}}});
    else
      follows.on_frame(1, Frame{5, 1, command(1)});
    bool delivered = false;
    for (SessionAction& action : follows.take_actions())
      if (const auto* one = std::get_if<Deliver>(&action))
        delivered = std::get<StepPlan>(one->message).id == StepId{9};
    EXPECT_EQ(delivered, plan);
    EXPECT_EQ(follows.over(), !plan);
  }
}

TEST(Session, GapAndWrongDirectionAreErrors) {
  Pair gap;
  gap.server.session.on_frame(1, Frame{5, 1, report(1)});
  gap.server.session.on_frame(1, Frame{5, 1, report(1)});
  gap.server.pump(1);
  EXPECT_EQ(gap.server.delivered, std::vector<uint64_t>{1});
  EXPECT_EQ(gap.server.session.counts().duplicates, 1u);
  gap.server.session.on_frame(1, Frame{5, 4, report(4)});
  gap.server.pump(1);
  ASSERT_TRUE(gap.server.failure);
  EXPECT_EQ(gap.server.failure->message(), "messages 2 to 3 of the worker are missing");
  Pair direction;
  direction.server.session.on_frame(1, Frame{5, 1, command(1)});
  direction.server.pump(1);
  ASSERT_TRUE(direction.server.failure);
  EXPECT_EQ(direction.server.failure->code(), ErrorCode::kInvalid);
  Pair ack;
  ack.server.session.on_frame(1, Frame{5, 0, Ack{1, 1}});
  ack.server.pump(1);
  ASSERT_TRUE(ack.server.failure) << "an acknowledgement of what was never sent";
}

TEST(Session, NothingIsHeardBeforeTheHello) {
  End server(options_of(SessionRole::kServer));
  server.session.connected(0);
  server.session.on_frame(1, Frame{5, 1, report(1)});
  server.pump(1);
  ASSERT_TRUE(server.failure);
  EXPECT_TRUE(server.delivered.empty());
  End limited(options_of(SessionRole::kServer));
  limited.session.connected(0);
  limited.session.on_bytes(1, std::string("\xff\xff\0\0", 4));
  limited.pump(1);
  ASSERT_TRUE(limited.failure);
  EXPECT_EQ(limited.failure->code(), ErrorCode::kTooLarge);
}

// Goal: a receiver that does not consume stops the sender, and nothing is lost. Method: a window of
// 4 messages, and 10 that are sent.
TEST(Session, CreditsBoundWhatIsSentAhead) {
  auto options = options_of(SessionRole::kServer);
  options.window_messages = 4;
  auto sender = options_of(SessionRole::kWorker);
  sender.unacked_messages_max = 10;
  Pair pair(sender, options);
  pair.server.consume = false;
  for (uint64_t i = 1; i <= 10; ++i) ASSERT_TRUE(pair.worker.session.send(1, report(i)).ok());
  EXPECT_FALSE(pair.worker.session.can_send());
  const Result<void> busy = pair.worker.session.send(1, report(11));
  ASSERT_FALSE(busy.ok());
  EXPECT_EQ(busy.error().code(), ErrorCode::kBusy);
  settle(pair.worker, pair.server, 1);
  EXPECT_EQ(pair.server.delivered.size(), 4u);
  TimeUs now = 1;
  while (pair.server.delivered.size() < 10) {
    pair.server.session.consumed(now, 1);
    now += 30 * kMillisecond;
    pair.server.session.tick(now);
    pair.worker.session.tick(now);
    settle(pair.worker, pair.server, now);
    ASSERT_LT(now, kSecond);
  }
  EXPECT_EQ(pair.server.delivered, (std::vector<uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_TRUE(pair.worker.session.can_send());
}

TEST(Session, SenderThatIgnoresCreditIsAnError) {
  auto options = options_of(SessionRole::kServer);
  options.window_messages = 2;
  Pair pair(options_of(SessionRole::kWorker), options);
  pair.server.consume = false;
  for (uint64_t i = 1; i <= 3; ++i) pair.server.session.on_frame(1, Frame{5, i, report(i)});
  pair.server.pump(1);
  ASSERT_TRUE(pair.server.failure);
  EXPECT_NE(pair.server.failure->message().find("sent message 3 where 2 was the last one allowed"),
            std::string::npos);
}

// Goal: a process that stood still does not take its own sleep for the other end's silence. Method:
// ticks that come late, with and without bytes that the other end had sent meanwhile.
TEST(Session, TheOwnSleepIsNobodysSilence) {
  for (const TimeUs gap : {5 * kSecond, 60 * kSecond, 24 * 3600 * kSecond}) {
    Pair pair;
    TimeUs now = std::max(pair.server.session.next_deadline(), TimeUs{kSecond}) + gap;
    pair.server.session.tick(now);
    pair.server.pump(now);
    EXPECT_FALSE(pair.server.failure) << gap;
    pair.worker.session.tick(now);  // The worker was there all the time.
    settle(pair.worker, pair.server, now);
    EXPECT_TRUE(pair.server.session.up() && pair.worker.session.up());
    const TimeUs alone_from = now;
    // From here on nothing comes, and each tick is late.
    while (!pair.server.failure && now < alone_from + 60 * kSecond) {
      now = pair.server.session.next_deadline() + kSecond;
      pair.server.session.tick(now);
      pair.server.pump(now);
    }
    ASSERT_TRUE(pair.server.failure);
    EXPECT_EQ(pair.server.failure->code(), ErrorCode::kDeadline);
  }
}

TEST(Session, PingsKeepALinkAndSilenceEndsIt) {
  Pair pair;
  TimeUs now = 0;
  while (now < 20 * kSecond) {
    now = std::min(pair.worker.session.next_deadline(), pair.server.session.next_deadline());
    pair.worker.session.tick(now);
    pair.server.session.tick(now);
    settle(pair.worker, pair.server, now);
  }
  ASSERT_TRUE(pair.worker.session.up() && pair.server.session.up());
  const TimeUs silent_from = now;
  while (!pair.worker.failure) {
    now = pair.worker.session.next_deadline();
    ASSERT_LE(now, silent_from + 4 * kSecond);
    pair.worker.session.tick(now);
    pair.worker.pump(now);
  }
  EXPECT_EQ(pair.worker.failure->code(), ErrorCode::kDeadline);
  EXPECT_EQ(now, silent_from + 4 * kSecond);
  // The same time counts while there is no connection.
  pair.server.session.disconnected(silent_from);
  pair.server.session.tick(silent_from + 4 * kSecond);
  pair.server.pump(now);
  ASSERT_TRUE(pair.server.failure);
  EXPECT_EQ(pair.server.failure->message(), "nothing was heard from the worker for 4.0 s");
}

// Goal: a message that takes longer than silence_max to arrive is not silence; one that stops in
// the middle is.
TEST(Session, PartsOfAMessageAreSignsOfLife) {
  Pair pair;
  TimeUs now = kSecond;
  Frame frame;
  frame.epoch = pair.worker.session.options().epoch;
  frame.sequence = 1;
  engine::SequenceFailed large{SequenceId{1}, ErrorCode::kInternal, std::string(5 << 20, 'x')};
  frame.body = engine::Report(std::move(large));
  const std::string bytes = encode_frame(frame).value();
  const auto feed = [&](size_t begin, size_t end, int pieces) {
    for (int i = 0; i < pieces && !pair.server.failure; ++i) {
      const size_t from = begin + (end - begin) * i / pieces;
      const size_t to = begin + (end - begin) * (i + 1) / pieces;
      now += kSecond;
      pair.server.session.on_bytes(now, std::string_view(bytes).substr(from, to - from));
      pair.server.session.tick(now);
      pair.server.pump(now);
    }
  };
  feed(0, bytes.size() / 2, 30);
  EXPECT_FALSE(pair.server.failure);
  while (!pair.server.failure) {
    const TimeUs heard = now;
    now = pair.server.session.next_deadline();
    pair.server.session.tick(now);
    pair.server.pump(now);
    ASSERT_LE(now, heard + 4 * kSecond);
  }
  EXPECT_EQ(pair.server.failure->code(), ErrorCode::kDeadline);
}

TEST(Session, GoodbyeEndsBoth) {
  Pair pair;
  pair.server.session.goodbye(1, "stopped by the server");
  settle(pair.worker, pair.server, 1);
  ASSERT_TRUE(pair.worker.failure);
  EXPECT_EQ(pair.worker.failure->message(), "the server ended the link: stopped by the server");
  EXPECT_FALSE(pair.server.failure);
  EXPECT_EQ(pair.server.session.send(2, command(1)).error().code(), ErrorCode::kUnavailable);
}

// Carries a random part of the bytes at each step. Sometimes the connection breaks and loses the
// rest, sometimes an old copy of a frame comes again. Returns the hash of both ends at the end.
uint64_t run_lossy(uint64_t seed, int messages, uint64_t* resent = nullptr) {
  PhiloxStream random{seed};
  auto worker_options = options_of(SessionRole::kWorker),
       server_options = options_of(SessionRole::kServer);
  worker_options.window_messages = 1 + static_cast<uint32_t>(random.below(20));
  server_options.window_messages = 1 + static_cast<uint32_t>(random.below(20));
  worker_options.unacked_messages_max = 1 + static_cast<uint32_t>(random.below(30));
  End worker(worker_options), server(server_options);
  connect(worker, server, 0);
  uint64_t reports = 0, commands = 0;
  const auto count = static_cast<uint64_t>(messages);
  bool connected = true;
  TimeUs now = 0;
  const auto carry = [&](End& from, End& to) {
    from.pump(now);
    const size_t size = random.below(from.wire.size() + 1);
    to.session.on_bytes(now, std::string_view(from.wire).substr(0, size));
    from.wire.erase(0, size);
  };
  for (int step = 0; step < 200'000; ++step) {
    now += static_cast<TimeUs>(random.below(20 * kMillisecond));
    if (reports < count && worker.session.can_send())
      EXPECT_TRUE(worker.session.send(now, report(++reports)).ok());
    if (commands < count && server.session.can_send())
      EXPECT_TRUE(server.session.send(now, command(++commands)).ok());
    if (connected && random.below(50) == 0) {
      worker.session.disconnected(now);
      server.session.disconnected(now);
      connected = false;
    } else if (!connected && random.below(3) == 0) {
      connected = true;
      worker.pump(now);
      server.pump(now);
      worker.wire.clear();
      server.wire.clear();
      server.session.connected(now);
      worker.session.connected(now);
    }
    if (connected) {
      carry(worker, server);
      carry(server, worker);
      if (server.session.up() && !server.delivered.empty() && random.below(20) == 0)
        server.session.on_frame(
            now, Frame{5, 1 + random.below(server.delivered.size()), report(999'999)});
    }
    worker.session.tick(now);
    server.session.tick(now);
    worker.pump(now);
    server.pump(now);
    EXPECT_FALSE(worker.failure) << worker.failure->message();
    EXPECT_FALSE(server.failure) << server.failure->message();
    if (worker.failure || server.failure) break;
    if (server.delivered.size() == count && worker.delivered.size() == count &&
        worker.session.idle())
      break;
  }
  std::vector<uint64_t> want;
  for (uint64_t i = 1; i <= count; ++i) want.push_back(i);
  EXPECT_EQ(server.delivered, want);
  EXPECT_EQ(worker.delivered, want);
  if (resent != nullptr) *resent += worker.session.counts().resent + server.session.counts().resent;
  return mix64(worker.session.hash()) ^ server.session.hash();
}

// Goal: every message arrives exactly once and in order, whatever the link does. Method: 200 seeds.
TEST(Session, LossyLinksDeliverOnceInOrder) {
  uint64_t resent = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    run_lossy(seed, 150, &resent);
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(resent, 1000u);
}

TEST(Session, SameSeedSameHash) {
  EXPECT_EQ(run_lossy(7, 60), run_lossy(7, 60));
  EXPECT_NE(run_lossy(7, 60), run_lossy(8, 60));
}

}  // namespace
}  // namespace altlas::worker
