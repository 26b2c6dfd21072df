// Devices, deployments, the effective configuration, and what may be changed while running.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "server/body/read.h"
#include "server/device_bodies.h"
#include "server/routes.h"
#include "server/tasks/task_json.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

awaitable<Result<Response>> get_gpus(Request, Services& services) {
  json::array gpus;
  for (const control::DeviceView& device : co_await services.service.devices())
    gpus.push_back(device_to_json(device));
  json::object answer{{"gpus", std::move(gpus)}};
  if (!services.notice.empty()) answer["notice"] = services.notice;
  co_return json_response(text::json_text(answer));
}

awaitable<Result<Response>> get_gpu(Request request, Services& services) {
  const auto devices = co_await services.service.devices();
  std::string_view text = request.parameter("id");
  if (text.starts_with("gpu_")) text.remove_prefix(4);
  for (const control::DeviceView& device : devices)
    if (std::to_string(device.id.value) == text)
      co_return json_response(text::json_text(device_to_json(device)));
  co_return not_found(
      fmt::format("no device '{}': devices are 0 to {}", text.substr(0, 32), devices.size() - 1));
}

json::object replica_to_json(const control::ReplicaView& replica) {
  json::array devices;
  for (const DeviceId id : replica.devices) devices.emplace_back(id.value);
  json::object out{{"replica_id", replica.id.value},
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

// Answers like Ray's serve.status(): status, message, counts per replica state.
awaitable<Result<Response>> get_deployments(Request, Services& services) {
  json::object deployments;
  for (const control::DeploymentView& view : co_await services.service.deployments()) {
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
    deployments[view.name] = {{"status", view.status},
                              {"message", view.message},
                              {"model", view.model},
                              {"adapters", std::move(adapters)},
                              {"replica_states", std::move(states)},
                              {"replicas", std::move(replicas)}};
  }
  for (const ServedModelPointer& model : services.prompts.models())
    if (json::value* one = deployments.if_contains(model->deployment);
        one != nullptr && !model->chat_template_error.empty())
      one->get_object()["chat_template_error"] = model->chat_template_error;
  const json::object answer{{"deployments", std::move(deployments)}};
  co_return json_response(text::json_text(answer));
}

awaitable<Result<Response>> get_strategy(Request, Services& services) {
  const Strategy strategy = co_await services.service.strategy();
  const json::object answer{{"strategy", to_string(strategy)}};
  co_return json_response(text::json_text(answer));
}

awaitable<Result<Response>> post_strategy(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  StrategyBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  ALTLAS_CO_TRY_VOID(co_await services.service.set_strategy(*body.strategy));
  const json::object answer{{"status", "success"}, {"strategy", to_string(*body.strategy)}};
  co_return json_response(text::json_text(answer));
}

awaitable<Result<Response>> post_max_concurrent(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  ConcurrencyBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  ALTLAS_CO_TRY_VOID(
      co_await services.service.set_max_concurrent_tasks(static_cast<uint32_t>(body.value)));
  const json::object answer{{"status", "success"}, {"max_concurrent_tasks", body.value}};
  co_return json_response(text::json_text(answer));
}

}  // namespace

std::vector<Route> device_routes() {
  return {
      {"GET", "/api/v1/gpus", Access::kUser, get_gpus, "Devices", "", "Gpus"},
      {"GET", "/api/v1/gpus/{id}", Access::kUser, get_gpu, "One device", "", "Gpu", {}, {404}},
      {"GET", "/api/v1/deployments", Access::kUser, get_deployments,
       "Deployments and their replicas", "", "Deployments"},
      {"GET", "/api/v1/config/gpu/strategy", Access::kUser, get_strategy, "The default strategy",
       "", "Strategy"},
      {"POST",
       "/api/v1/config/gpu/strategy",
       Access::kAdmin,
       post_strategy,
       "Change the default strategy",
       "StrategyRequest",
       "StrategyAnswer",
       {},
       {400, 413, 415}},
      {"POST",
       "/api/v1/config/gpu/max_concurrent_tasks",
       Access::kAdmin,
       post_max_concurrent,
       "Change the tasks per device",
       "ConcurrencyRequest",
       "ConcurrencyAnswer",
       {},
       {400, 413, 415}},
  };
}

}  // namespace altlas::server
