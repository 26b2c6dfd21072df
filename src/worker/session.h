// Session: one end of a server-worker link as a pure state machine. It sees bytes and times, and
// says what to write and what was received; it survives broken connections, so that every message
// arrives exactly once and in order.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "worker/frames.h"

namespace altlas::worker {

enum class SessionRole : uint8_t { kServer, kWorker };

// Which messages pass, beside those of the session itself.
enum class SessionTopic : uint8_t {
  kReplica,  // Commands to a worker, and its reports.
  kSteps,    // Plans of a replica's leading worker, in the server's role, and the others' results.
  kNode,     // A node's devices and the processes that it is to start.
};

struct SessionOptions {
  SessionRole role = SessionRole::kWorker;
  uint32_t version = kProtocolVersion;
  WorkerId worker;
  uint64_t epoch = 0;  // The number of the server's start (journal/boot_epoch.h).
  std::string token;
  int32_t pid = 0;  // The pid of this process, for the other end.
  std::string host;
  SessionTopic topic = SessionTopic::kReplica;
  uint32_t window_messages = 1024;  // Messages the other end may send ahead of consumed().
  // Messages that are sent or wait, not known to have arrived; beyond it send() says kBusy.
  uint32_t unacked_messages_max = 4096;
  uint64_t unacked_bytes_max = uint64_t{64} << 20;  // The same; one message may go beyond.
  int64_t ping_interval = kSecond;                  // Both ends ping.
  // Without a byte, or without a connection: the link has failed.
  int64_t silence_max = 4 * kSecond;
  int64_t ack_delay = 20 * kMillisecond;  // An acknowledgement waits this long for others.
};

// ---- What the edge must do, in order ----
struct WriteBytes {
  std::string bytes;
};
// Hello was exchanged; messages flow.
struct LinkUp {
  int32_t pid = 0;  // The pid of the other end.
  std::string host;
  bool again = false;  // After a broken connection; nothing was lost.
};
struct Deliver {
  Message message;
};
// The session is over for good: protocol error (kInvalid), another version (kUnsupported), a wrong
// token (kUnauthorized), replaced by a newer epoch (kConflict), silence (kDeadline), or the other
// end's goodbye (kCanceled). What precedes it is still to be written; then the connection is to be
// closed.
struct LinkFailed {
  Error error;
};
using SessionAction = std::variant<WriteBytes, LinkUp, Deliver, LinkFailed>;

struct SessionCounts {
  uint64_t sent = 0, delivered = 0, resent = 0;
  uint64_t duplicates = 0;  // Received again and dropped.
  uint64_t fenced = 0;      // Frames of an older epoch, dropped.
};

// Compares in time that does not tell how much of it is right.
bool same_token(std::string_view a, std::string_view b);

// Threads: one. `now` never goes back.
class Session {
 public:
  Session(SessionOptions options, TimeUs now);

  // A new connection stands; the one before it, if any, is gone. The worker says hello, the server
  // waits for it.
  void connected(TimeUs now);
  // The connection is gone. What was not acknowledged is kept for the next one.
  void disconnected(TimeUs now);
  void on_bytes(TimeUs now, std::string_view bytes);
  void on_frame(TimeUs now, Frame frame);
  // False where send() would say kBusy or kUnavailable.
  bool can_send() const;
  // Sends now or once connected.  Errors: kBusy when too much is unacknowledged (later works),
  // kTooLarge, kUnavailable after LinkFailed or goodbye().
  Result<void> send(TimeUs now, Message message);
  // The edge is done with this many delivered messages: the other end may send as many more.
  void consumed(TimeUs now, uint32_t messages);
  // Pings, acknowledgements, deadlines; call at next_deadline().
  void tick(TimeUs now);
  // Ends the link on purpose.
  void goodbye(TimeUs now, std::string reason);

  TimeUs next_deadline() const;
  std::vector<SessionAction> take_actions();
  const SessionCounts& counts() const { return counts_; }
  const SessionOptions& options() const { return options_; }
  bool up() const { return state_ == State::kUp; }
  bool over() const { return state_ == State::kOver; }
  // Nothing sent is unacknowledged.
  bool idle() const { return unacked_.empty(); }
  uint64_t hash() const;
  // Aborts if the state contradicts itself.
  void check_integrity() const;

 private:
  // kDown: no connection. kHello: connected, the other end's hello is to come. kOver: failed, or
  // goodbye was said.
  enum class State : uint8_t { kDown, kHello, kUp, kOver };
  struct Unacked {
    uint64_t sequence;
    std::string
        bytes;  // The frame; cut again on every connection, so that it can be sent as it is.
  };

  void write_control(decltype(Frame::body) body);
  void write_hello();
  void fail(Error error, bool tell);
  // The other end is alive.
  void heard(TimeUs now);
  void forgive_lateness(TimeUs now);
  // The other end is known: `received` and `credit` are what it said.
  void link_up(TimeUs now, uint64_t received, uint64_t credit, int32_t pid, std::string host);
  // Errors: numbers that can't be.
  Result<void> apply_ack(uint64_t received, uint64_t credit);
  // Writes what waits and the credit allows.
  void flush();
  void receive(TimeUs now, uint64_t sequence, Message message);
  void schedule_ack(TimeUs now);
  bool check_version(uint32_t version);
  void on_hello(TimeUs now, const Hello& hello);
  void on_hello_ack(TimeUs now, const HelloAck& hello);
  void on_body(TimeUs now, Frame& frame);
  void on_step(TimeUs now, Frame& frame);
  void on_node_message(TimeUs now, Frame& frame);

  const SessionOptions options_;
  State state_ = State::kDown;
  FrameReader reader_;
  std::vector<SessionAction> actions_;
  SessionCounts counts_;
  bool was_up_ = false;
  // Sending: unacked_ holds sequence numbers acked_ + 1 … sent_last_; those up to written_ went to
  // this connection.
  std::deque<Unacked> unacked_;
  uint64_t unacked_bytes_ = 0, acked_ = 0, sent_last_ = 0, written_ = 0, credit_ = 0;
  uint64_t written_most_ = 0;  // Over all connections.
  // Receiving.
  uint64_t received_ = 0, consumed_ = 0;
  uint64_t said_received_ = 0, said_credit_ = 0;  // Last told to the other end.
  uint32_t forgiven_ = 0;                         // Late ticks since the other end was heard.
  TimeUs heard_at_ = 0, ping_at_ = 0;
  TimeUs ack_at_ = 0;  // 0: none is due.
  uint64_t nonce_ = 0;
};

}  // namespace altlas::worker
