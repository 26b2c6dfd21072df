#include "worker/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/hash.h"

namespace altlas::worker {
namespace {

std::string_view other_end(SessionRole role) {
  return role == SessionRole::kServer ? "worker" : "server";
}

// A tick that comes this late means that this process stood still.
constexpr TimeUs kLate = kSecond / 2;
constexpr uint32_t kForgivenMax = 8;

}  // namespace

bool same_token(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<uint8_t>(a[i]) ^ static_cast<uint8_t>(b[i]);
  return difference == 0;
}

Session::Session(SessionOptions options, TimeUs now)
    : options_(std::move(options)), heard_at_(now), ping_at_(now) {
  ALTLAS_CHECK(options_.window_messages > 0 && options_.unacked_messages_max > 0,
               "a window has room");
  said_credit_ = options_.window_messages;
}

std::vector<SessionAction> Session::take_actions() { return std::exchange(actions_, {}); }

void Session::write_control(decltype(Frame::body) body) {
  Frame frame;
  frame.epoch = options_.epoch;
  frame.body = std::move(body);
  std::string bytes = encode_frame(frame).value();
  if (auto* last = actions_.empty() ? nullptr : std::get_if<WriteBytes>(&actions_.back()))
    last->bytes += bytes;
  else
    actions_.push_back(WriteBytes{std::move(bytes)});
}

void Session::write_hello() {
  said_received_ = received_;
  said_credit_ = consumed_ + options_.window_messages;
  if (options_.role == SessionRole::kWorker) {
    write_control(Hello{options_.version, options_.token, options_.worker, options_.pid,
                        options_.host, received_, said_credit_});
  } else {
    write_control(HelloAck{options_.version, options_.pid, options_.host, received_, said_credit_});
  }
}

void Session::fail(Error error, bool tell) {
  if (state_ == State::kOver) return;
  if (tell && state_ != State::kDown) write_control(Goodbye{error.message()});
  state_ = State::kOver;
  unacked_.clear();
  unacked_bytes_ = 0;
  acked_ = sent_last_;
  written_ = sent_last_;
  actions_.push_back(LinkFailed{std::move(error)});
}

void Session::connected(TimeUs now) {
  if (state_ == State::kOver) return;
  state_ = State::kHello;
  reader_ = FrameReader(kHelloBytesMax);
  written_ = acked_;
  ack_at_ = 0;
  ping_at_ = now;
  if (options_.role == SessionRole::kWorker) write_hello();
}

void Session::disconnected(TimeUs) {
  if (state_ == State::kOver) return;
  state_ = State::kDown;
  written_ = acked_;
  ack_at_ = 0;
}

void Session::on_bytes(TimeUs now, std::string_view bytes) {
  if (state_ == State::kOver || state_ == State::kDown) return;
  reader_.feed(bytes);
  while (state_ != State::kOver) {
    const auto message = reader_.next();
    if (!message.ok()) return fail(message.error(), true);
    if (!*message) break;
    Result<Frame> frame = decode_frame(**message);
    if (!frame.ok()) return fail(frame.error(), true);
    on_frame(now, std::move(frame).value());
  }
  // A part of a frame is a sign of life too: a large one may take longer than silence_max.
  if (state_ == State::kUp && reader_.waiting_bytes() > 0) heard(now);
}

void Session::heard(TimeUs now) {
  heard_at_ = now;
  forgiven_ = 0;
}

void Session::on_frame(TimeUs now, Frame frame) {
  if (state_ == State::kOver || state_ == State::kDown) return;
  if (frame.epoch < options_.epoch) {
    ++counts_.fenced;
    return;
  }
  if (frame.epoch > options_.epoch)
    return fail(Error(ErrorCode::kConflict,
                      fmt::format("replaced: the {} is in epoch {}, this end in {}",
                                  other_end(options_.role), frame.epoch, options_.epoch)),
                true);
  heard(now);
  on_body(now, frame);
}

void Session::on_body(TimeUs now, Frame& frame) {
  if (const auto* bye = std::get_if<Goodbye>(&frame.body))
    return fail(Error(ErrorCode::kCanceled, fmt::format("the {} ended the link: {}",
                                                        other_end(options_.role), bye->reason)),
                false);
  if (const auto* hello = std::get_if<Hello>(&frame.body)) return on_hello(now, *hello);
  if (const auto* hello = std::get_if<HelloAck>(&frame.body)) return on_hello_ack(now, *hello);
  if (state_ != State::kUp)
    return fail(invalid(fmt::format("the {} spoke before its hello", other_end(options_.role))),
                true);
  if (const auto* ack = std::get_if<Ack>(&frame.body)) {
    const Result<void> applied = apply_ack(ack->received, ack->credit);
    if (!applied.ok()) return fail(applied.error(), true);
    return flush();
  }
  if (const auto* ping = std::get_if<Ping>(&frame.body)) return write_control(Pong{ping->nonce});
  if (std::holds_alternative<Pong>(frame.body)) return;
  if (options_.topic == SessionTopic::kSteps) return on_step(now, frame);
  if (options_.topic == SessionTopic::kNode) return on_node_message(now, frame);
  if (auto* command = std::get_if<engine::Command>(&frame.body)) {
    if (options_.role == SessionRole::kServer)
      return fail(invalid("a worker does not send commands"), true);
    return receive(now, frame.sequence, std::move(*command));
  }
  auto* report = std::get_if<engine::Report>(&frame.body);
  if (report == nullptr)
    return fail(invalid("steps pass between the workers of one replica only, and a node's messages "
                        "on its own link"),
                true);
  if (options_.role == SessionRole::kWorker)
    return fail(invalid("a server does not send reports"), true);
  receive(now, frame.sequence, std::move(*report));
}

void Session::on_step(TimeUs now, Frame& frame) {
  if (auto* plan = std::get_if<StepPlan>(&frame.body);
      plan && options_.role == SessionRole::kWorker)
    return receive(now, frame.sequence, std::move(*plan));
  if (auto* result = std::get_if<StepResult>(&frame.body);
      result && options_.role == SessionRole::kServer)
    return receive(now, frame.sequence, std::move(*result));
  fail(invalid(options_.role == SessionRole::kWorker
                   ? "a leading worker sends plans of steps only"
                   : "a worker answers plans by results of steps only"),
       true);
}

void Session::on_node_message(TimeUs now, Frame& frame) {
  auto* message = std::get_if<NodeMessage>(&frame.body);
  if (message != nullptr) {
    const bool of_node = std::holds_alternative<NodeOffer>(*message) ||
                         std::holds_alternative<WorkerEnded>(*message);
    if (of_node == (options_.role == SessionRole::kServer))
      return receive(now, frame.sequence, std::move(*message));
  }
  fail(invalid("no message of a node's link"), true);
}

bool Session::check_version(uint32_t version) {
  if (version == options_.version) return true;
  fail(Error(ErrorCode::kUnsupported,
             fmt::format("the {} speaks protocol version {}, this end version {}: both must be the "
                         "same altlas",
                         other_end(options_.role), version, options_.version)),
       true);
  return false;
}

void Session::on_hello(TimeUs now, const Hello& hello) {
  if (options_.role != SessionRole::kServer)
    return fail(invalid("a server does not say hello first"), true);
  if (state_ != State::kHello) return fail(invalid("a second hello on one connection"), true);
  if (!check_version(hello.version)) return;
  if (!same_token(hello.token, options_.token) || hello.worker != options_.worker)
    return fail(Error(ErrorCode::kUnauthorized,
                      fmt::format("wrong token for replica {}", hello.worker.replica.value)),
                true);
  write_hello();
  link_up(now, hello.received, hello.credit, hello.pid, hello.host);
}

void Session::on_hello_ack(TimeUs now, const HelloAck& hello) {
  if (options_.role != SessionRole::kWorker)
    return fail(invalid("a worker does not answer a hello"), true);
  if (state_ != State::kHello) return fail(invalid("a second answer to the hello"), true);
  if (!check_version(hello.version)) return;
  link_up(now, hello.received, hello.credit, hello.pid, hello.host);
}

void Session::link_up(TimeUs now, uint64_t received, uint64_t credit, int32_t pid,
                      std::string host) {
  const Result<void> applied = apply_ack(received, credit);
  if (!applied.ok()) return fail(applied.error(), true);
  state_ = State::kUp;
  reader_.set_frame_bytes_max(kFrameBytesMax);
  ping_at_ = now;
  actions_.push_back(LinkUp{pid, std::move(host), std::exchange(was_up_, true)});
  flush();
}

Result<void> Session::apply_ack(uint64_t received, uint64_t credit) {
  if (received < acked_ || received > written_most_)
    return invalid(fmt::format(
        "the {} says it received up to message {}; it acknowledged {} before and was sent {}",
        other_end(options_.role), received, acked_, written_most_));
  while (acked_ < received) {
    unacked_bytes_ -= unacked_.front().bytes.size();
    unacked_.pop_front();
    ++acked_;
  }
  written_ = std::max(written_, acked_);
  credit_ = std::max(credit_, credit);
  return {};
}

void Session::flush() {
  if (state_ != State::kUp) return;
  while (written_ < sent_last_ && written_ < credit_) {
    const Unacked& next = unacked_[written_ - acked_];
    if (next.sequence <= written_most_) ++counts_.resent;
    written_ = next.sequence;
    written_most_ = std::max(written_most_, written_);
    if (auto* last = actions_.empty() ? nullptr : std::get_if<WriteBytes>(&actions_.back()))
      last->bytes += next.bytes;
    else
      actions_.push_back(WriteBytes{next.bytes});
  }
}

bool Session::can_send() const {
  return state_ != State::kOver && unacked_.size() < options_.unacked_messages_max &&
         unacked_bytes_ < options_.unacked_bytes_max;
}

Result<void> Session::send(TimeUs, Message message) {
  if (state_ == State::kOver) return unavailable("the link is closed");
  if (!can_send())
    return Error(
        ErrorCode::kBusy,
        fmt::format("{} messages of {} bytes are not acknowledged, the limits are {} and {}",
                    unacked_.size(), unacked_bytes_, options_.unacked_messages_max,
                    options_.unacked_bytes_max));
  Frame frame;
  frame.epoch = options_.epoch;
  frame.sequence = sent_last_ + 1;
  std::visit([&frame](auto& value) { frame.body = std::move(value); }, message);
  ALTLAS_TRY(std::string bytes, encode_frame(frame));
  unacked_bytes_ += bytes.size();
  unacked_.push_back({++sent_last_, std::move(bytes)});
  ++counts_.sent;
  flush();
  return {};
}

void Session::receive(TimeUs now, uint64_t sequence, Message message) {
  if (sequence <= received_) {
    ++counts_.duplicates;
    return schedule_ack(now);
  }
  if (sequence > received_ + 1)
    return fail(invalid(fmt::format("messages {} to {} of the {} are missing", received_ + 1,
                                    sequence - 1, other_end(options_.role))),
                true);
  if (sequence > said_credit_)
    return fail(invalid(fmt::format("the {} sent message {} where {} was the last one allowed",
                                    other_end(options_.role), sequence, said_credit_)),
                true);
  received_ = sequence;
  ++counts_.delivered;
  actions_.push_back(Deliver{std::move(message)});
  schedule_ack(now);
}

void Session::schedule_ack(TimeUs now) {
  if (state_ == State::kUp && ack_at_ == 0) ack_at_ = now + options_.ack_delay;
}

void Session::consumed(TimeUs now, uint32_t messages) {
  consumed_ += messages;
  ALTLAS_CHECK(consumed_ <= received_, "consumed no more than was delivered");
  if (state_ != State::kUp) return;
  schedule_ack(now);
  // The other end must not run out of credit while the acknowledgement waits.
  if (said_credit_ - received_ < options_.window_messages / 2) {
    ack_at_ = now;
    tick(now);
  }
}

// Handles a late tick: this process stood still or had no time, and what came meanwhile is still
// unread. That is not the other end's silence, so it gets half of its time again. This happens a
// few times only, so that even an end that is always late notices one that is gone.
void Session::forgive_lateness(TimeUs now) {
  if (now - next_deadline() < kLate || forgiven_ == kForgivenMax) return;
  ++forgiven_;
  heard_at_ = std::max(heard_at_, now - options_.silence_max / 2);
}

void Session::tick(TimeUs now) {
  if (state_ == State::kOver) return;
  forgive_lateness(now);
  if (now - heard_at_ >= options_.silence_max)
    return fail(
        Error(ErrorCode::kDeadline,
              fmt::format("nothing was heard from the {} for {:.1f} s", other_end(options_.role),
                          static_cast<double>(now - heard_at_) / kSecond)),
        true);
  if (state_ != State::kUp) return;
  if (ack_at_ != 0 && now >= ack_at_) {
    ack_at_ = 0;
    const uint64_t credit = consumed_ + options_.window_messages;
    if (received_ != said_received_ || credit != said_credit_) {
      said_received_ = received_;
      said_credit_ = credit;
      write_control(Ack{received_, credit});
    }
  }
  if (now - ping_at_ >= options_.ping_interval) {
    ping_at_ = now;
    write_control(Ping{++nonce_});
  }
}

void Session::goodbye(TimeUs, std::string reason) {
  if (state_ == State::kOver) return;
  if (state_ != State::kDown) write_control(Goodbye{std::move(reason)});
  state_ = State::kOver;
  unacked_.clear();
  unacked_bytes_ = 0;
  acked_ = written_ = sent_last_;
}

TimeUs Session::next_deadline() const {
  if (state_ == State::kOver) return std::numeric_limits<TimeUs>::max();
  TimeUs next = heard_at_ + options_.silence_max;
  if (state_ == State::kUp) {
    next = std::min(next, ping_at_ + options_.ping_interval);
    if (ack_at_ != 0) next = std::min(next, ack_at_);
  }
  return next;
}

uint64_t Session::hash() const {
  Hasher hash;
  hash.add(static_cast<uint8_t>(state_))
      .add(options_.epoch)
      .add(options_.worker.replica.value)
      .add(options_.worker.index)
      .add(reader_.waiting_bytes());
  hash.add(acked_)
      .add(sent_last_)
      .add(written_)
      .add(written_most_)
      .add(credit_)
      .add(unacked_bytes_);
  hash.add(received_).add(consumed_).add(said_received_).add(said_credit_);
  hash.add(forgiven_).add(heard_at_).add(ping_at_).add(ack_at_).add(nonce_).add(was_up_);
  hash.add(counts_.resent).add(counts_.duplicates).add(counts_.fenced).add(actions_.size());
  for (const Unacked& message : unacked_)
    hash.add(message.sequence).add(std::string_view(message.bytes));
  return hash.value();
}

void Session::check_integrity() const {
  ALTLAS_CHECK(consumed_ <= received_ && said_received_ <= received_, "received before consumed");
  ALTLAS_CHECK(acked_ <= written_ && written_ <= sent_last_, "acknowledged ≤ written ≤ sent");
  if (state_ == State::kOver) return;
  ALTLAS_CHECK(unacked_.size() == sent_last_ - acked_, "every unacknowledged message is kept");
  uint64_t bytes = 0, sequence = acked_;
  for (const Unacked& message : unacked_) {
    ALTLAS_CHECK(message.sequence == ++sequence, "sequence numbers have no gap");
    bytes += message.bytes.size();
  }
  ALTLAS_CHECK(bytes == unacked_bytes_, "bytes are counted");
}

}  // namespace altlas::worker
