#include "worker/frames.h"

#include <fmt/format.h>

#include "base/drop.h"
#include "worker/worker.pb.h"
#include "worker/convert.h"
#include "worker/node_convert.h"
#include "worker/step_convert.h"

namespace altlas::worker {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

void write_body(const decltype(Frame::body)& body, proto::Frame* to) {
  std::visit(
      Overloaded{[&](const Hello& from) {
                   proto::Hello* hello = to->mutable_hello();
                   hello->set_version(from.version);
                   hello->set_token(from.token);
                   hello->set_replica(from.worker.replica.value);
                   hello->set_worker(from.worker.index);
                   hello->set_pid(from.pid);
                   hello->set_host(from.host);
                   hello->set_received(from.received);
                   hello->set_credit(from.credit);
                 },
                 [&](const HelloAck& from) {
                   proto::HelloAck* hello = to->mutable_hello_ack();
                   hello->set_version(from.version);
                   hello->set_pid(from.pid);
                   hello->set_host(from.host);
                   hello->set_received(from.received);
                   hello->set_credit(from.credit);
                 },
                 [&](const Ack& from) {
                   to->mutable_ack()->set_received(from.received);
                   to->mutable_ack()->set_credit(from.credit);
                 },
                 [&](const Ping& from) { to->mutable_ping()->set_nonce(from.nonce); },
                 [&](const Pong& from) { to->mutable_pong()->set_nonce(from.nonce); },
                 [&](const Goodbye& from) { to->mutable_goodbye()->set_reason(from.reason); },
                 [&](const engine::Command& from) { write_command(from, to); },
                 [&](const engine::Report& from) { write_report(from, to); },
                 [&](const StepPlan& from) { write_plan(from, to->mutable_plan()); },
                 [&](const StepResult& from) { write_step_result(from, to->mutable_result()); },
                 [&](const NodeMessage& from) { write_node_message(from, to); }},
      body);
}

// Reads every kind of frame but messages. Returns false for messages.
bool read_control(const proto::Frame& from, Frame& to) {
  switch (from.body_case()) {
    case proto::Frame::kHello: {
      const proto::Hello& hello = from.hello();
      const WorkerId worker{ReplicaId{hello.replica()}, hello.worker()};
      to.body = Hello{hello.version(), hello.token(),    worker,        hello.pid(),
                      hello.host(),    hello.received(), hello.credit()};
      return true;
    }
    case proto::Frame::kHelloAck: {
      const proto::HelloAck& hello = from.hello_ack();
      to.body =
          HelloAck{hello.version(), hello.pid(), hello.host(), hello.received(), hello.credit()};
      return true;
    }
    case proto::Frame::kAck:
      to.body = Ack{from.ack().received(), from.ack().credit()};
      return true;
    case proto::Frame::kPing:
      to.body = Ping{from.ping().nonce()};
      return true;
    case proto::Frame::kPong:
      to.body = Pong{from.pong().nonce()};
      return true;
    case proto::Frame::kGoodbye:
      to.body = Goodbye{from.goodbye().reason()};
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<std::string> encode_frame(const Frame& frame) {
  proto::Frame message;
  message.set_epoch(frame.epoch);
  message.set_sequence(frame.sequence);
  write_body(frame.body, &message);
  const size_t size = message.ByteSizeLong();
  if (size > kFrameBytesMax)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("a frame of {} bytes, the limit is {}", size, kFrameBytesMax));
  std::string bytes(kFrameHeaderBytes, '\0');
  for (size_t i = 0; i < kFrameHeaderBytes; ++i) bytes[i] = static_cast<char>(size >> (8 * i));
  ALTLAS_CHECK(message.AppendToString(&bytes), "a frame below the limit can be written");
  return bytes;
}

Result<Frame> decode_frame(std::string_view bytes) {
  proto::Frame message;
  if (bytes.size() > kFrameBytesMax ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return invalid(fmt::format("{} bytes that are no frame of the worker protocol", bytes.size()));
  Frame frame;
  frame.epoch = message.epoch();
  frame.sequence = message.sequence();
  if (read_control(message, frame)) {
    if (frame.sequence != 0) return invalid("a control frame has no sequence number");
    return frame;
  }
  if (frame.sequence == 0)
    return invalid("a message needs a sequence number from 1, or the frame's kind is unknown");
  ALTLAS_TRY(Message read, read_message(message));
  std::visit([&](auto& value) { frame.body = std::move(value); }, read);
  return frame;
}

void FrameReader::feed(std::string_view bytes) {
  if (read_ == buffer_.size() && buffer_.capacity() > kKeptBytesMax) {
    drop(buffer_);
    read_ = 0;
  }
  if (read_ > 0 && read_ >= buffer_.size() / 2) {
    buffer_.erase(0, read_);
    read_ = 0;
  }
  buffer_.append(bytes);
}

Result<std::optional<std::string_view>> FrameReader::next() {
  const std::string_view rest = std::string_view(buffer_).substr(read_);
  if (rest.size() < kFrameHeaderBytes) return std::optional<std::string_view>();
  size_t size = 0;
  for (size_t i = 0; i < kFrameHeaderBytes; ++i)
    size |= size_t{static_cast<uint8_t>(rest[i])} << (8 * i);
  if (size > frame_bytes_max_)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("a frame of {} bytes, the limit here is {}", size, frame_bytes_max_));
  if (rest.size() - kFrameHeaderBytes < size) return std::optional<std::string_view>();
  read_ += kFrameHeaderBytes + size;
  return std::optional(rest.substr(kFrameHeaderBytes, size));
}

}  // namespace altlas::worker
