#include "server/deployment_json.h"

#include <boost/json.hpp>
#include <cctype>

#include "base/clock.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

json::object replica_to_json(const control::ReplicaView& replica) {
  json::array devices;
  for (const DeviceId id : replica.devices) devices.emplace_back(id.value);
  json::object out{{"replica_id", replica.id.value},
                   {"place", replica.place},
                   {"state", control::to_string(replica.state)},
                   {"devices", std::move(devices)},
                   {"pid", replica.pid},
                   {"restarts", replica.restarts},
                   {"message", replica.message},
                   {"running", replica.running},
                   {"max_sequences", replica.sequences_max},
                   {"max_model_len", replica.model_len_max},
                   {"kv_tokens", uint64_t{replica.kv_blocks} * replica.block_tokens},
                   {"kv_tokens_free", replica.kv_tokens_free},
                   {"simd", replica.simd}};
  if (replica.state == control::ReplicaState::kLoading)
    out["loading"] = {{"phase", replica.load_phase}, {"fraction", replica.load_fraction}};
  return out;
}

}  // namespace

json::object deployment_to_json(const control::DeploymentView& view) {
  json::object states;
  json::array replicas;
  for (const control::ReplicaView& replica : view.replicas) {
    std::string state(control::to_string(replica.state));
    for (char& c : state) c = static_cast<char>(std::toupper(c));
    json::value& count = states[state];
    count = count.is_null() ? 1 : count.to_number<int64_t>() + 1;
    replicas.push_back(replica_to_json(replica));
  }
  json::array adapters(view.adapters.begin(), view.adapters.end());
  return {{"status", view.status},
          {"message", view.message},
          {"model", view.model},
          {"target_replicas", view.target_replicas},
          {"max_replicas", view.max_replicas},
          {"autoscaled", view.autoscaled},
          {"held", view.held},
          {"adapters", std::move(adapters)},
          {"replica_states", std::move(states)},
          {"replicas", std::move(replicas)}};
}

json::object scale_decision_to_json(const control::ScaleDecision& decision) {
  return {
      {"at", to_rfc3339(decision.at)}, {"from", decision.from},       {"to", decision.to},
      {"ongoing", decision.ongoing},   {"running", decision.running}, {"desired", decision.desired},
      {"reason", decision.reason}};
}

}  // namespace altlas::server
