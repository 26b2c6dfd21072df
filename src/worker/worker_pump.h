// WorkerPump: the worker's side of its link as a pure state machine: the session, reports that wait
// for room, commands that the engine has no room for, and why the process ends.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/messages.h"
#include "worker/outbox.h"
#include "worker/session.h"

namespace altlas::worker {

inline constexpr size_t kReportsMax = 1 << 16;       // That wait for the server, merged.
inline constexpr int64_t kLastReportsMax = kSecond;  // For the reports of an engine that ended.

// What a worker's process exits with.
enum WorkerExit : int {
  kExitStopped = 0,      // The server said goodbye.
  kExitServerGone = 10,  // Its connection broke, or it was silent.
  kExitRefused = 11,     // Another version, a wrong token, or replaced by a newer start.
  kExitProtocol = 12,    // The server sent what no server sends.
  kExitOverflow = 13,    // The server did not take the reports.
  kExitConnect = 14,     // The socket is not there.
  kExitEngine = 15,      // The engine ended: nothing could be loaded, or a device failed.
};

// What a process exits with when its session failed with `code`. heard: the server has accepted it
// before.
WorkerExit exit_of(ErrorCode code, bool heard);

// ---- What the edge must do, in order; WriteBytes as session.h has it ----
struct StartEngine {
  engine::LoadReplica load;
};
// Nothing follows. Bytes before it are still to be written.
struct EndProcess {
  int code = kExitStopped;
  std::string message;
};
using WorkerAction = std::variant<WriteBytes, StartEngine, EndProcess>;

// Threads: one. `now` never goes back. After each call the edge carries out take_actions(), then
// offers command() to the engine until it is null or the engine is full.
class WorkerPump {
 public:
  WorkerPump(SessionOptions options, TimeUs now) : session_(std::move(options), now) {}

  void connected(TimeUs now) { session_.connected(now); }
  void disconnected(TimeUs now) { session_.disconnected(now); }
  void on_bytes(TimeUs now, std::string_view bytes) { session_.on_bytes(now, bytes); }
  void tick(TimeUs now) { session_.tick(now); }
  // Passes on a report of the engine; they go in their order.
  void report(engine::Report report) { outbox_.push(std::move(report)); }
  // The engine is over; the process ends once the server has its reports, or kLastReportsMax later.
  void engine_ended(TimeUs now, Error error);
  // Ends the process: the server's goodbye is not waited for.
  void end(TimeUs now, int code, std::string message);

  std::vector<WorkerAction> take_actions(TimeUs now);
  // The next command for the engine, or null. Credit goes back by took_command(), so a full engine
  // holds the server back.
  engine::Command* command() { return commands_.empty() || ended_ ? nullptr : &commands_.front(); }
  void took_command(TimeUs now);

  TimeUs next_deadline() const;
  bool ended() const { return ended_; }
  bool engine_started() const { return started_; }
  const Session& session() const { return session_; }

 private:
  void pump(TimeUs now);
  void deliver(TimeUs now, engine::Command command);
  void fail(TimeUs now, const Error& error);

  Session session_;
  Outbox outbox_;
  std::deque<engine::Command> commands_;  // At most a window of them.
  std::optional<Error> engine_end_;
  TimeUs engine_end_at_ = 0;  // When to wait no longer for its reports to be taken.
  bool started_ = false, ended_ = false;
  std::vector<WorkerAction> actions_;
};

}  // namespace altlas::worker
