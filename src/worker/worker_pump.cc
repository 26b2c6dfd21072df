#include "worker/worker_pump.h"

#include <algorithm>
#include <utility>

namespace altlas::worker {

WorkerExit exit_of(ErrorCode code, bool heard) {
  switch (code) {
    case ErrorCode::kCanceled:
      return heard ? kExitStopped : kExitRefused;
    case ErrorCode::kDeadline:
      return kExitServerGone;
    case ErrorCode::kUnsupported:
    case ErrorCode::kUnauthorized:
    case ErrorCode::kConflict:
      return kExitRefused;
    default:
      return kExitProtocol;
  }
}

void WorkerPump::engine_ended(TimeUs now, Error error) {
  if (engine_end_) return;
  engine_end_ = std::move(error);
  engine_end_at_ = now + kLastReportsMax;
}

void WorkerPump::took_command(TimeUs now) {
  commands_.pop_front();
  session_.consumed(now, 1);
}

std::vector<WorkerAction> WorkerPump::take_actions(TimeUs now) {
  pump(now);
  return std::exchange(actions_, {});
}

void WorkerPump::pump(TimeUs now) {
  for (bool more = true; more && !ended_;) {
    while (!outbox_.empty() && session_.can_send()) {
      const Result<void> sent = session_.send(now, Message(*outbox_.pop()));
      if (!sent.ok()) return end(now, kExitProtocol, sent.error().message());
    }
    std::vector<SessionAction> actions = session_.take_actions();
    more = !actions.empty();
    for (SessionAction& action : actions) {
      if (auto* write = std::get_if<WriteBytes>(&action)) actions_.push_back(std::move(*write));
      if (auto* failed = std::get_if<LinkFailed>(&action)) fail(now, failed->error);
      if (auto* delivered = std::get_if<Deliver>(&action))
        deliver(now, std::get<engine::Command>(std::move(delivered->message)));
      if (ended_) return;
    }
  }
  if (ended_) return;
  if (outbox_.size() > kReportsMax)
    return end(now, kExitOverflow, "the server does not take the reports");
  if (!engine_end_) return;
  const bool said = outbox_.empty() && session_.idle();
  if (said || now >= engine_end_at_)
    end(now, kExitEngine, "the engine ended: " + engine_end_->message());
}

void WorkerPump::deliver(TimeUs now, engine::Command command) {
  if (auto* load = std::get_if<engine::LoadReplica>(&command)) {
    if (started_)
      return end(now, kExitProtocol, "the server loads a second replica into this worker");
    started_ = true;
    session_.consumed(now, 1);
    actions_.push_back(StartEngine{std::move(*load)});
    return;
  }
  if (!started_)
    return end(now, kExitProtocol, "the server commands a replica that it did not load");
  commands_.push_back(std::move(command));
}

void WorkerPump::fail(TimeUs now, const Error& error) {
  end(now, exit_of(error.code(), session_.counts().delivered > 0 || started_), error.message());
}

void WorkerPump::end(TimeUs now, int code, std::string message) {
  if (std::exchange(ended_, true)) return;
  session_.goodbye(now, message);
  for (SessionAction& action : session_.take_actions())
    if (auto* write = std::get_if<WriteBytes>(&action)) actions_.push_back(std::move(*write));
  actions_.push_back(EndProcess{code, std::move(message)});
}

TimeUs WorkerPump::next_deadline() const {
  const TimeUs next = session_.next_deadline();
  return engine_end_ ? std::min(next, engine_end_at_) : next;
}

}  // namespace altlas::worker
