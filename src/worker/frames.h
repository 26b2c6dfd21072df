// Frames between a server and its workers, and their bytes: 4 bytes of length (little endian), then
// a protobuf message.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "engine/messages.h"
#include "step/step_plan.h"

namespace altlas::worker {

// Both ends must speak the same one. Raised with every change of worker.proto that an older end
// would misread.
inline constexpr uint32_t kProtocolVersion = 8;
inline constexpr size_t kFrameHeaderBytes = 4;
// Longest frame without its header; a request's body is at most 8 MiB.
inline constexpr size_t kFrameBytesMax = size_t{32} << 20;
// The same, as long as the other end has not said who it is.
inline constexpr size_t kHelloBytesMax = 4096;

// The worker's first frame on every connection.
struct Hello {
  uint32_t version = kProtocolVersion;
  // The token of this replica's start; proves that the server started this worker.
  std::string token;
  WorkerId worker;
  int32_t pid = 0;
  std::string host;
  uint64_t received = 0;  // Last sequence number received in order; 0: none.
  uint64_t credit = 0;    // Last sequence number that the other end may send.
};
// The server's answer.
struct HelloAck {
  uint32_t version = kProtocolVersion;
  int32_t pid = 0;
  std::string host;
  uint64_t received = 0;
  uint64_t credit = 0;
};
struct Ack {
  uint64_t received = 0;
  uint64_t credit = 0;
};
struct Ping {
  uint64_t nonce = 0;
};
struct Pong {
  uint64_t nonce = 0;
};
// The link ends on purpose.
struct Goodbye {
  std::string reason;
};

// ---- Between a server and a node: a machine that lends it its devices ----

// A node says hello as a worker of this replica, which never is one.
inline constexpr ReplicaId kNodeReplica{0};
inline constexpr size_t kNodeDevicesMax = 256;

// As control/core_setup.h has it.
struct NodeDevice {
  std::string name, kind, spec;
  uint64_t memory_total = 0;
  uint32_t cpu_first = 0;
  friend bool operator==(const NodeDevice&, const NodeDevice&) = default;
};
// The node's first message.
struct NodeOffer {
  std::vector<NodeDevice> devices;  // 1 to kNodeDevicesMax.
};
// A process for a worker, which connects by itself. WorkerEnded follows, now or later.
struct SpawnWorker {
  WorkerId worker;
  uint64_t epoch = 0;
  std::string token;
};
struct KillWorker {
  WorkerId worker;
};
struct WorkerEnded {
  WorkerId worker;
  std::string reason;  // "killed by signal 9".
};
using NodeMessage = std::variant<NodeOffer, SpawnWorker, KillWorker, WorkerEnded>;

// Plans and results of steps pass between the workers of one replica.
using Message = std::variant<engine::Command, engine::Report, StepPlan, StepResult, NodeMessage>;

struct Frame {
  // The epoch of the replica's start; a frame of an older one comes from a worker that was
  // replaced.
  uint64_t epoch = 0;
  uint64_t sequence = 0;  // From 1 for messages, per direction and epoch; 0 for everything else.
  std::variant<Hello, HelloAck, Ack, Ping, Pong, Goodbye, engine::Command, engine::Report, StepPlan,
               StepResult, NodeMessage>
      body;
};

// Header and message.  Errors: kTooLarge above kFrameBytesMax.
Result<std::string> encode_frame(const Frame& frame);
// A message without its header, from anyone.  Errors: kInvalid for what is no frame, for values
// outside their enums, and for a message without sequence number or anything else with one.
Result<Frame> decode_frame(std::string_view bytes);

// Cuts a stream of bytes into frames. Keeps no more than one frame's bytes, and no more than have
// come.
class FrameReader {
 public:
  explicit FrameReader(size_t frame_bytes_max = kFrameBytesMax)
      : frame_bytes_max_(frame_bytes_max) {}
  void feed(std::string_view bytes);
  // The next whole frame's message without header, valid until the next call; nothing if more bytes
  // are needed. Errors: kTooLarge for a frame above the limit; the reader is then of no more use.
  Result<std::optional<std::string_view>> next();
  void set_frame_bytes_max(size_t bytes) { frame_bytes_max_ = bytes; }
  // Fed and not yet given out; valid until the next call.
  std::string_view rest() const { return std::string_view(buffer_).substr(read_); }
  size_t waiting_bytes() const { return buffer_.size() - read_; }
  // Bytes of memory that it holds.
  size_t held_bytes() const { return buffer_.capacity(); }

 private:
  // The memory of a larger frame is given back once the frame was given out.
  static constexpr size_t kKeptBytesMax = size_t{1} << 20;
  size_t frame_bytes_max_;
  std::string buffer_;
  size_t read_ = 0;  // Bytes of buffer_ already given out.
};

}  // namespace altlas::worker
