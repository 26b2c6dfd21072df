// The route table: every route of the server, one list per handler file.
#pragma once

#include <vector>

#include "server/http/route.h"

namespace altlas::server {

// Every route, in the order of the docs.
const std::vector<Route>& routes();

std::vector<Route> task_routes();  // tasks/predict.cc: /api/v1/predict, task, tasks, batch_predict.
std::vector<Route> device_routes();  // devices.cc: /api/v1/gpus, config, deployments.
std::vector<Route> llm_routes();     // openai/llm.cc: /llm/generate, /generate, /chat, /echo.
std::vector<Route> openai_routes();  // openai/completions.cc: /v1/models, completions, /tokenize.
// openai/adapters_api.cc: /v1/load_lora_adapter, its opposite.
std::vector<Route> adapter_routes();
std::vector<Route> tokenize_routes();   // openai/tokenize.cc: /tokenize, /detokenize.
std::vector<Route> embedding_routes();  // openai/embeddings.cc: /v1/embeddings.
std::vector<Route> file_routes();       // batches/files_api.cc: /v1/files.
std::vector<Route> batch_routes();      // batches/batches_api.cc: /v1/batches.
std::vector<Route> dashboard_routes();  // dashboard/routes.cc: /, /api/v1/live, history, usage.
std::vector<Route> system_routes();     // system.cc: /health, /ready, /metrics.

}  // namespace altlas::server
