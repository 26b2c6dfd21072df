#include "server/reference/openapi.h"

#include "control/views.h"
#include "server/batches/batches.h"
#include "server/body/schema.h"
#include "server/reference/bodies.h"
#include "server/tasks/task_json.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

// Returns the schema of an enum whose values, from 0 to `last`, have names in answers.
template <class Enum>
json::object names_up_to(Enum last) {
  json::array names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(last); ++i)
    names.emplace_back(to_string(static_cast<Enum>(i)));
  return {{"enum", std::move(names)}};
}

constexpr std::string_view kAnswers = R"json({
"Any": {"description": "Any JSON value"},
"Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
"OpenAiError": {"type": "object", "required": ["error"], "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"],
  "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"]}, "code": {"type": "string"}}}}},
"Placed": {"type": "object", "required": ["task_id", "gpu_id", "status"], "properties": {
  "task_id": {"type": "string"}, "gpu_id": {"type": "integer"}, "status": {"$ref": "#/components/schemas/Status"}}},
"BatchPlaced": {"type": "object", "required": ["status"], "properties": {
  "status": {"enum": ["running", "queued", "mixed", "all_distributed", "all_queued"]},
  "gpu_id": {"type": "integer"}, "task_ids": {"type": "array", "items": {"type": "string"}},
  "tasks": {"type": "array", "items": {"$ref": "#/components/schemas/Placed"}}}},
"Task": {"type": "object", "required": ["task_id", "status", "gpu_id", "type", "created_at", "started_at", "finished_at"], "properties": {
  "task_id": {"type": "string"}, "status": {"$ref": "#/components/schemas/Status"}, "gpu_id": {"type": "integer"}, "type": {"type": "string"},
  "created_at": {"type": "string"}, "started_at": {"type": ["string", "null"]}, "finished_at": {"type": ["string", "null"]},
  "deployment": {"type": "string"}, "prompt_tokens": {"type": "integer"}, "generated_tokens": {"type": "integer"},
  "queue_position": {"type": "integer"}, "seed": {"type": "integer"}, "error": {"type": "string"}, "note": {"type": "string"},
  "result": {"type": "object", "required": ["text", "execution_time", "timestamp", "tokens", "finish_reason"], "properties": {
    "text": {"type": "string"}, "execution_time": {"type": "number"}, "timestamp": {"type": "string"}, "tokens": {"type": "integer"},
    "finish_reason": {"type": "string"}, "seed": {"type": "integer", "description": "Of the text's draws: given, or drawn"}}}}},
"TaskList": {"type": "object", "required": ["tasks", "total"], "properties": {
  "tasks": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Task"}}, "total": {"type": "integer"}}},
"Canceled": {"type": "object", "required": ["task_id", "status"], "properties": {"task_id": {"type": "string"}, "status": {"const": "canceled"}}},
"Explanation": {"type": "object", "required": ["task_id", "strategy", "winner", "rejected", "alternatives"], "properties": {
  "task_id": {"type": "string"}, "strategy": {"type": "string"}, "winner": {"type": "integer"}, "runner_up": {"type": ["integer", "null"]},
  "reason": {"type": "string"}, "rejected": {"type": "array", "items": {"type": "object"}}, "alternatives": {"type": "object"}, "epoch": {"type": "integer"},
  "note": {"type": "string", "description": "What the user should know of the choice, as that another strategy decided"},
  "moves": {"type": "array", "description": "To other devices while the task waited, after the choice", "items": {"type": "object", "required": ["from", "to", "at", "reason"],
    "properties": {"from": {"type": "integer"}, "to": {"type": "integer"}, "at": {"type": "string"}, "reason": {"type": "string"}}}}}},
"Gpu": {"type": "object", "required": ["id", "name", "kind", "node", "utilization", "memory_used", "memory_total", "task_count", "queued_count", "temperature", "power", "healthy", "deployments"],
  "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "kind": {"enum": ["cpu", "cuda", "sim"]}, "node": {"type": ["string", "null"]},
  "utilization": {"type": "number", "minimum": 0, "maximum": 100}, "memory_used": {"type": "integer"}, "memory_total": {"type": "integer"},
  "task_count": {"type": "integer"}, "queued_count": {"type": "integer"}, "temperature": {"type": ["number", "null"]},
  "power": {"type": ["number", "null"]}, "healthy": {"type": "boolean"}, "deployments": {"type": "array", "items": {"type": "string"}},
  "memory": {"type": "array", "description": "Who holds memory_used", "items": {"type": "object", "required": ["owner", "what", "bytes"], "properties": {
    "owner": {"type": "string", "description": "A deployment; empty for reservations of tasks"}, "what": {"enum": ["weights", "activations", "kv", "reservations"]}, "bytes": {"type": "integer"}}}}}},
"Gpus": {"type": "object", "required": ["gpus"], "properties": {"gpus": {"type": "array", "items": {"$ref": "#/components/schemas/Gpu"}}, "notice": {"type": "string"}}},
"Deployments": {"type": "object", "required": ["deployments"], "properties": {"deployments": {"type": "object"}}},
"Deployment": {"type": "object", "required": ["status", "message", "model", "target_replicas", "max_replicas", "autoscaled", "held", "adapters", "replica_states", "replicas"], "properties": {
  "status": {"enum": ["UPDATING", "HEALTHY", "UNHEALTHY", "UPSCALING", "DOWNSCALING"]}, "message": {"type": "string"}, "model": {"type": "string"},
  "target_replicas": {"type": "integer", "description": "Replicas that are wanted"}, "max_replicas": {"type": "integer", "description": "Places for them"},
  "autoscaled": {"type": "boolean", "description": "The number follows the load"}, "held": {"type": "boolean", "description": "A person has said the number"},
  "adapters": {"type": "array", "items": {"type": "string"}}, "replica_states": {"type": "object", "additionalProperties": {"type": "integer"}}, "replicas": {"type": "array", "items": {"type": "object"}}}},
"ScaleDecisions": {"type": "object", "required": ["decisions"], "properties": {"decisions": {"type": "array", "description": "Oldest first", "items": {"type": "object",
  "required": ["at", "from", "to", "ongoing", "running", "desired", "reason"], "properties": {"at": {"type": "string"}, "from": {"type": "integer", "description": "Replicas wanted before"},
  "to": {"type": "integer", "description": "Replicas wanted from then on"}, "ongoing": {"type": "number", "description": "Requests that ran or waited, over the look-back period"},
  "running": {"type": "integer", "description": "Replicas that ran"}, "desired": {"type": "integer", "description": "What the load asked for, before delays and bounds"},
  "reason": {"type": "string"}}}}}},
"Strategy": {"type": "object", "required": ["strategy", "strategies"], "properties": {"strategy": {"type": "string"},
  "strategies": {"type": "array", "description": "Those that may be set", "items": {"type": "string"}}}},
"WhoAmI": {"type": "object", "required": ["name", "role", "keys", "version"], "properties": {"name": {"type": "string"}, "role": {"enum": ["user", "admin", "metrics"]},
  "keys": {"type": "boolean", "description": "Whether this server asks for keys"}, "version": {"type": "string"}}},
"Quantiles": {"type": "object", "required": ["p50", "p95", "p99", "count"], "properties": {"p50": {"type": ["number", "null"], "description": "Seconds; null where nothing was counted"},
  "p95": {"type": ["number", "null"]}, "p99": {"type": ["number", "null"]}, "count": {"type": "integer"}}},
"Latency": {"type": "object", "required": ["queue", "first_token", "inter_token", "total"], "properties": {"queue": {"$ref": "#/components/schemas/Quantiles"},
  "first_token": {"$ref": "#/components/schemas/Quantiles"}, "inter_token": {"$ref": "#/components/schemas/Quantiles"}, "total": {"$ref": "#/components/schemas/Quantiles"},
  "window_s": {"type": "integer"}}},
"RunningRequest": {"type": "object", "required": ["task_id", "deployment", "gpu_id", "created_at", "prompt_tokens", "generated_tokens", "tokens_per_second", "durable"], "properties": {
  "task_id": {"type": "string"}, "deployment": {"type": "string"}, "gpu_id": {"type": "integer"}, "created_at": {"type": "string"}, "prompt_tokens": {"type": "integer"},
  "generated_tokens": {"type": "integer"}, "tokens_per_second": {"type": "number"}, "durable": {"type": "boolean", "description": "Whether /api/v1/tasks lists it"},
  "key": {"type": "string", "description": "Told to admins"}}},
"Change": {"type": "object", "required": ["number", "at", "what", "value", "reason"], "properties": {"number": {"type": "integer"}, "at": {"type": "string"},
  "what": {"enum": ["replica", "strategy", "max_concurrent_tasks", "limits", "drain", "warning", "scale"]}, "deployment": {"type": "string"}, "replica": {"type": "integer", "description": "Its place in the deployment"},
  "restarts": {"type": "integer"}, "value": {"type": "string", "description": "The new state, strategy or number"}, "reason": {"type": "string"}}},
"Live": {"type": "object", "required": ["number", "at", "health", "strategy", "waiting", "running", "rates", "second", "latency", "devices", "deployments", "requests", "changes"], "properties": {
  "number": {"type": "integer"}, "at": {"type": "string"}, "health": {"$ref": "#/components/schemas/Health"}, "strategy": {"type": "string"},
  "waiting": {"type": "integer"}, "running": {"type": "integer"}, "rates": {"type": "object", "description": "Per second, of the last second: tokens, completed, failed, canceled"},
  "second": {"$ref": "#/components/schemas/Latency"}, "latency": {"$ref": "#/components/schemas/Latency"},
  "devices": {"type": "array", "items": {"$ref": "#/components/schemas/Gpu"}}, "deployments": {"type": "object"},
  "requests": {"type": "array", "items": {"$ref": "#/components/schemas/RunningRequest"}}, "changes": {"type": "array", "items": {"$ref": "#/components/schemas/Change"}}}},
"History": {"type": "object", "required": ["step_s", "columns", "devices", "changes"], "properties": {"step_s": {"type": "integer"},
  "columns": {"type": "object", "description": "Lists of equal length: time (Unix seconds), waiting, running, rates, percentiles in seconds", "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}}},
  "devices": {"type": "array", "description": "The first 64", "items": {"type": "object"}}, "changes": {"type": "array", "items": {"$ref": "#/components/schemas/Change"}}}},
"UsedByKey": {"type": "object", "required": ["completed", "failed", "canceled", "prompt_tokens", "generated_tokens", "device_seconds", "cost_usd", "unpriced_seconds"], "properties": {
  "completed": {"type": "integer"}, "failed": {"type": "integer"}, "canceled": {"type": "integer"}, "prompt_tokens": {"type": "integer"}, "generated_tokens": {"type": "integer"},
  "device_seconds": {"type": "number", "description": "A device's time is shared out evenly among those that run on it"},
  "cost_usd": {"type": ["number", "null"], "description": "By list prices; null where no price is known"}, "unpriced_seconds": {"type": "number", "description": "Device seconds without a price"},
  "from": {"type": "string", "description": "The begin of the hour"}}},
"KeyUsage": {"type": "object", "required": ["hours", "since", "keys"], "properties": {"hours": {"type": "integer"}, "since": {"type": ["string", "null"], "description": "Nothing was counted before"},
  "keys": {"type": "array", "items": {"type": "object", "required": ["key", "total", "hours"], "properties": {"key": {"type": "string"}, "total": {"$ref": "#/components/schemas/UsedByKey"},
    "hours": {"type": "array", "items": {"$ref": "#/components/schemas/UsedByKey"}}}}}}},
"StrategyAnswer": {"type": "object", "required": ["status", "strategy"], "properties": {"status": {"const": "success"}, "strategy": {"type": "string"}}},
"ConcurrencyAnswer": {"type": "object", "required": ["status", "max_concurrent_tasks"], "properties": {"status": {"const": "success"}, "max_concurrent_tasks": {"type": "integer"}}},
"Usage": {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"], "properties": {
  "prompt_tokens": {"type": "integer"}, "completion_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}}},
"GenerateAnswer": {"type": "object", "required": ["text", "tokens"], "properties": {"text": {"type": "string"}, "tokens": {"type": "integer"}, "seed": {"type": "integer"}}},
"ChatAnswer": {"type": "object", "required": ["content", "usage"], "properties": {"content": {"type": "string"}, "reasoning_content": {"type": "string"}, "seed": {"type": "integer", "description": "Gives the same text again"}, "usage": {"$ref": "#/components/schemas/Usage"}}},
"InfillAnswer": {"type": "object", "required": ["index", "content", "stop", "model", "tokens_predicted", "tokens_evaluated", "stop_type", "timings"], "properties": {
  "index": {"type": "integer"}, "content": {"type": "string"}, "stop": {"type": "boolean"}, "model": {"type": "string"}, "tokens_predicted": {"type": "integer"},
  "tokens_evaluated": {"type": "integer"}, "stop_type": {"enum": ["eos", "limit", "word"]}, "stopping_word": {"type": "string"}, "seed": {"type": "integer"}, "timings": {"type": "object"}}},
"EchoAnswer": {"type": "object", "required": ["echo", "calls"], "properties": {"echo": {}, "calls": {"type": "integer"}}},
"Model": {"type": "object", "required": ["id", "object"], "properties": {"id": {"type": "string"}, "object": {"const": "model"},
  "chat_template_error": {"type": "string", "description": "Why its chat template can't be used, where it has such a one"}}},
"Models": {"type": "object", "required": ["object", "data"], "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}}},
"Completion": {"type": "object", "required": ["id", "object", "created", "model", "choices", "usage"], "properties": {"object": {"const": "text_completion"},
  "choices": {"type": "array"}, "usage": {"$ref": "#/components/schemas/Usage"}, "seed": {"type": "integer", "description": "Of the first choice; of several, each has its own"}}},
"ChatCompletion": {"type": "object", "required": ["id", "object", "created", "model", "choices", "usage"], "properties": {"object": {"const": "chat.completion"},
  "choices": {"type": "array"}, "usage": {"$ref": "#/components/schemas/Usage"}, "seed": {"type": "integer", "description": "Of the first choice; of several, each has its own"}}},
"Embeddings": {"type": "object", "required": ["object", "data", "model", "usage"], "properties": {"object": {"const": "list"}, "model": {"type": "string"},
  "data": {"type": "array", "items": {"type": "object", "required": ["object", "index", "embedding"], "properties": {"object": {"const": "embedding"}, "index": {"type": "integer"},
    "embedding": {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]}}}},
  "usage": {"type": "object", "required": ["prompt_tokens", "total_tokens"], "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}}}}},
"File": {"type": "object", "required": ["id", "object", "bytes", "created_at", "filename", "purpose"], "properties": {"id": {"type": "string"}, "object": {"const": "file"},
  "bytes": {"type": "integer"}, "created_at": {"type": "integer"}, "expires_at": {"type": ["integer", "null"]}, "filename": {"type": "string"}, "purpose": {"type": "string"}}},
"FileList": {"type": "object", "required": ["object", "data", "has_more"], "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/File"}}, "has_more": {"type": "boolean"}}},
"FileDeleted": {"type": "object", "required": ["id", "object", "deleted"], "properties": {"id": {"type": "string"}, "object": {"const": "file"}, "deleted": {"const": true}}},
"Batch": {"type": "object", "required": ["id", "object", "endpoint", "input_file_id", "completion_window", "status", "created_at", "request_counts"], "properties": {
  "id": {"type": "string"}, "object": {"const": "batch"}, "endpoint": {"type": "string"}, "input_file_id": {"type": "string"}, "completion_window": {"type": "string"},
  "status": {"$ref": "#/components/schemas/BatchStatus"},
  "output_file_id": {"type": ["string", "null"]}, "error_file_id": {"type": ["string", "null"]}, "created_at": {"type": "integer"},
  "request_counts": {"type": "object", "required": ["total", "completed", "failed"], "properties": {"total": {"type": "integer"}, "completed": {"type": "integer"}, "failed": {"type": "integer"}}},
  "errors": {"type": ["object", "null"]}, "metadata": {"type": ["object", "null"]}}},
"BatchList": {"type": "object", "required": ["object", "data", "has_more"], "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Batch"}}, "has_more": {"type": "boolean"}}},
"TokenizeAnswer": {"type": "object", "required": ["tokens", "count", "max_model_len"], "properties": {"tokens": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "object", "required": ["id", "piece"]}]}}, "count": {"type": "integer"}, "max_model_len": {"type": "integer"}}},
"DetokenizeAnswer": {"type": "object", "required": ["prompt", "content"], "properties": {"prompt": {"type": "string"}, "content": {"type": "string"}}},
"Health": {"type": "object", "required": ["status", "model"], "properties": {"status": {"$ref": "#/components/schemas/HealthStatus"}, "model": {"type": "string"}, "message": {"type": "string"}}},
"Trace": {"type": "object", "required": ["traceEvents"], "properties": {"traceEvents": {"type": "array"}, "displayTimeUnit": {"type": "string"}}},
"Version": {"type": "object", "required": ["version"], "properties": {"version": {"type": "string"}}},
"OpenApi": {"type": "object", "required": ["openapi"]}
}
)json";
}  // namespace

json::object request_schemas(const config::Config& now) {
  BodySchemas schemas(now);
  each_body([&](std::string_view name, const auto& body) { schemas.add(name, body); });
  return schemas.take();
}

json::object openapi_schemas(const config::Config& now) {
  json::object all = request_schemas(now);
  for (auto& [name, schema] : json::parse(kAnswers).get_object()) all.emplace(name, schema);
  all["Status"] = names_up_to(TaskStatus::kCanceled);
  all["BatchStatus"] = names_up_to(BatchStatus::kCancelled);
  all["HealthStatus"] = names_up_to(control::HealthStatus::kUnavailable);
  return all;
}

}  // namespace altlas::server
