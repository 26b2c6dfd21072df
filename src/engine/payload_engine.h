// The engine of deployments that are no models: payloads in, texts out, each answered as it comes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine_host.h"
#include "engine/messages.h"

namespace altlas::engine {

// The text that answers a payload. `call`: 1, 2, … since the load. An error fails that payload
// alone.
using PayloadAnswer = std::function<Result<std::string>(const std::string& payload, uint64_t call)>;

// What such an engine decides: commands in, reports out. Pure, where `answer` is. One writer.
class PayloadCore {
 public:
  PayloadCore(const LoadReplica& load, PayloadAnswer answer);

  void handle(Command command);
  // What was said since the last call, in order.
  std::vector<Report> take_reports();
  ReplicaLoaded loaded() const;
  ReplicaStats stats() const;

 private:
  void submit(const SubmitSequence& command);

  const uint32_t sequences_max_;
  const size_t devices_;
  const PayloadAnswer answer_;
  uint64_t calls_ = 0;
  bool draining_ = false;
  std::vector<Report> reports_;
};

// Its own thread answers, until stop().
std::unique_ptr<EngineHost> make_payload_host(PayloadAnswer answer);

}  // namespace altlas::engine
