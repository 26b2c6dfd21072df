#include "worker/node_convert.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::worker {
namespace {

constexpr size_t kDeviceTextBytesMax = 256;
constexpr size_t kReasonBytesMax = 4096;

void write(const NodeOffer& from, proto::Frame* frame) {
  frame->mutable_node_offer();
  for (const NodeDevice& device : from.devices) {
    proto::NodeDevice* to = frame->mutable_node_offer()->add_devices();
    to->set_name(device.name);
    to->set_kind(device.kind);
    to->set_spec(device.spec);
    to->set_memory_total(device.memory_total);
    to->set_cpu_first(device.cpu_first);
  }
}
void write(const SpawnWorker& from, proto::Frame* frame) {
  proto::SpawnWorker* to = frame->mutable_spawn_worker();
  to->set_replica(from.worker.replica.value);
  to->set_worker(from.worker.index);
  to->set_epoch(from.epoch);
  to->set_token(from.token);
}
void write(const KillWorker& from, proto::Frame* frame) {
  frame->mutable_kill_worker()->set_replica(from.worker.replica.value);
  frame->mutable_kill_worker()->set_worker(from.worker.index);
}
void write(const WorkerEnded& from, proto::Frame* frame) {
  proto::WorkerEnded* to = frame->mutable_worker_ended();
  to->set_replica(from.worker.replica.value);
  to->set_worker(from.worker.index);
  to->set_reason(from.reason.substr(0, kReasonBytesMax));
}

WorkerId worker_of(const auto& from) { return {ReplicaId{from.replica()}, from.worker()}; }

Result<NodeMessage> read_offer(const proto::NodeOffer& from) {
  NodeOffer out;
  if (from.devices_size() < 1 || from.devices_size() > static_cast<int>(kNodeDevicesMax))
    return invalid(
        fmt::format("a node offers 1 to {} devices, not {}", kNodeDevicesMax, from.devices_size()));
  for (const proto::NodeDevice& one : from.devices()) {
    for (const std::string& text : {one.name(), one.kind(), one.spec()})
      if (text.size() > kDeviceTextBytesMax)
        return invalid(fmt::format("a device of a node is described by {} bytes, {} are possible",
                                   text.size(), kDeviceTextBytesMax));
    out.devices.push_back(
        {one.name(), one.kind(), one.spec(), one.memory_total(), one.cpu_first()});
  }
  return NodeMessage(std::move(out));
}

}  // namespace

void write_node_message(const NodeMessage& from, proto::Frame* to) {
  std::visit([to](const auto& value) { write(value, to); }, from);
}

Result<NodeMessage> read_node_message(const proto::Frame& from) {
  switch (from.body_case()) {
    case proto::Frame::kNodeOffer:
      return read_offer(from.node_offer());
    case proto::Frame::kSpawnWorker:
      return NodeMessage(SpawnWorker{worker_of(from.spawn_worker()), from.spawn_worker().epoch(),
                                     from.spawn_worker().token()});
    case proto::Frame::kKillWorker:
      return NodeMessage(KillWorker{worker_of(from.kill_worker())});
    default:
      return NodeMessage(WorkerEnded{worker_of(from.worker_ended()),
                                     from.worker_ended().reason().substr(0, kReasonBytesMax)});
  }
}

}  // namespace altlas::worker
