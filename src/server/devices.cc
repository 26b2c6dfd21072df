// Devices, deployments, the effective configuration, and what may be changed while running.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "server/body/read.h"
#include "server/deployment_json.h"
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

// Answers like Ray's serve.status(): status, message, counts per replica state.
awaitable<Result<Response>> get_deployments(Request, Services& services) {
  json::object deployments;
  for (const control::DeploymentView& view : co_await services.service.deployments())
    deployments[view.name] = deployment_to_json(view);
  for (const ServedModelPointer& model : services.prompts.models())
    if (json::value* one = deployments.if_contains(model->deployment);
        one != nullptr && !model->chat_template_error.empty())
      one->get_object()["chat_template_error"] = model->chat_template_error;
  const json::object answer{{"deployments", std::move(deployments)}};
  co_return json_response(text::json_text(answer));
}

Error no_deployment(std::string_view name) {
  return not_found(fmt::format("there is no deployment '{}'", name.substr(0, 64)));
}

awaitable<Result<Response>> get_deployment(Request request, Services& services) {
  const std::string_view name = request.parameter("name");
  for (const control::DeploymentView& view : co_await services.service.deployments())
    if (view.name == name) co_return json_response(text::json_text(deployment_to_json(view)));
  co_return no_deployment(name);
}

awaitable<Result<Response>> get_decisions(Request request, Services& services) {
  const std::string name(request.parameter("name"));
  ALTLAS_CO_TRY(const auto decisions, co_await services.service.scale_decisions(name));
  json::array list;
  for (const control::ScaleDecision& one : decisions) list.push_back(scale_decision_to_json(one));
  const json::object answer{{"decisions", std::move(list)}};
  co_return json_response(text::json_text(answer));
}

awaitable<Result<Response>> post_scale(Request request, Services& services) {
  const std::string name(request.parameter("name"));
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  ScaleBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  if (body.replicas.has_value() == body.autoscale)
    co_return invalid("say either replicas, a number, or autoscale: true", "replicas");
  std::optional<uint32_t> replicas;
  if (body.replicas) replicas = static_cast<uint32_t>(*body.replicas);
  ALTLAS_CO_TRY_VOID(co_await services.service.scale(name, replicas));
  co_return co_await get_deployment(std::move(request), services);
}

awaitable<Result<Response>> get_strategy(Request, Services& services) {
  const Strategy strategy = co_await services.service.strategy();
  json::array strategies;
  for (const Strategy one : services.now()->gpu.multi_gpu.strategies)
    strategies.emplace_back(to_string(one));
  const json::object answer{{"strategy", to_string(strategy)},
                            {"strategies", std::move(strategies)}};
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
      {"GET",
       "/api/v1/deployments/{name}",
       Access::kUser,
       get_deployment,
       "One deployment",
       "",
       "Deployment",
       {},
       {404}},
      {"GET",
       "/api/v1/deployments/{name}/decisions",
       Access::kUser,
       get_decisions,
       "How many replicas it should have, and why: the latest decisions",
       "",
       "ScaleDecisions",
       {},
       {404}},
      {"POST",
       "/api/v1/deployments/{name}/scale",
       Access::kAdmin,
       post_scale,
       "Say how many replicas it has, or leave that to the load",
       "ScaleRequest",
       "Deployment",
       {},
       {400, 404, 413, 415}},
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
