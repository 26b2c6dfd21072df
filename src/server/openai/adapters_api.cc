// /v1/load_lora_adapter and /v1/unload_lora_adapter, as vLLM has them.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>

#include "server/body/read.h"
#include "server/handlers.h"
#include "server/openai/adapter_path.h"
#include "server/openai/bodies.h"
#include "server/routes.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

Response success(std::string text) {
  Response response;
  response.content_type = "text/plain; charset=utf-8";
  response.body = "Success: " + std::move(text);
  return response;
}

// Returns the adapter's model: `base_model_name`, else the model of requests that name none.
Result<ServedModelPointer> base_model(const std::string& name, const Services& services) {
  ALTLAS_TRY(ServedModelPointer model, services.prompts.find(name, kGenerationType));
  if (!model->adapter.empty())
    return invalid(fmt::format("base_model_name: '{}' is an adapter itself", name),
                   "base_model_name");
  return model;
}

awaitable<Result<Response>> load_adapter(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  LoadAdapterBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  engine::AdapterFile adapter;
  adapter.name = std::move(body.lora_name);
  ALTLAS_CO_TRY(adapter.path, adapter_path(body.lora_path, services.config.engine.lora_folders));
  ALTLAS_CO_TRY(const ServedModelPointer model, base_model(body.base_model_name, services));
  for (const ServedModelPointer& one : services.prompts.models()) {
    if (one->id != adapter.name && one->deployment != adapter.name) continue;
    if (one->adapter != adapter.name || one->deployment != model->deployment)
      co_return invalid(fmt::format("lora_name: '{}' is the name of a model", adapter.name),
                        "lora_name");
  }
  const Result<void> loaded = co_await services.service.load_adapter(model->deployment, adapter);
  // A file that can't be opened is the client's fault.
  if (!loaded.ok() && loaded.error().code() == ErrorCode::kIo)
    co_return invalid(loaded.error().message(), "lora_path");
  if (!loaded.ok()) co_return loaded.error();
  services.prompts.add_adapter(*model, adapter.name);
  co_return success(fmt::format("LoRA adapter '{}' added successfully.", adapter.name));
}

awaitable<Result<Response>> unload_adapter(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  UnloadAdapterBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  const std::string& name = body.lora_name;
  // An adapter that is not shown (not yet, or not any more) is looked for with every model.
  std::vector<std::string> deployments;
  for (const ServedModelPointer& one : services.prompts.models()) {
    if (one->adapter == name) deployments.insert(deployments.begin(), one->deployment);
    if (one->adapter.empty()) deployments.push_back(one->deployment);
  }
  Result<void> unloaded = unavailable("no model is served");
  for (const std::string& deployment : deployments) {
    // It is hidden first, so that nobody finds it any more; requests that have it go on to their
    // ends.
    services.prompts.remove_adapter(deployment, name);
    unloaded = co_await services.service.unload_adapter(deployment, name);
    if (unloaded.ok() || unloaded.error().code() != ErrorCode::kNotFound) break;
  }
  if (!unloaded.ok()) co_return unloaded.error();
  co_return success(fmt::format("LoRA adapter '{}' removed successfully.", name));
}

}  // namespace

std::vector<Route> adapter_routes() {
  return {
      {"POST",
       "/v1/load_lora_adapter",
       Access::kAdmin,
       load_adapter,
       "Load a LoRA adapter into every replica of a model; requests name it as their model",
       "LoadAdapterRequest",
       "",
       {},
       {400, 403, 404, 409, 413, 415, 429, 503},
       "text/plain"},
      {"POST",
       "/v1/unload_lora_adapter",
       Access::kAdmin,
       unload_adapter,
       "Take a LoRA adapter away once the requests that name it have ended",
       "UnloadAdapterRequest",
       "",
       {},
       {400, 404, 409, 413, 415, 503},
       "text/plain"},
  };
}

}  // namespace altlas::server
