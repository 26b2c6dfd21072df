#include "server/reference/openapi.h"

namespace altlas::server {

namespace {

constexpr std::string_view kRequests = R"json(
{
"Any": {"description": "Any JSON value"},
"GpuOptions": {"type": ["object", "null"], "properties": {
  "strategy": {"enum": ["round_robin", "least_loaded", "memory_optimized", "task_specific", "random", "prefix_affinity", "earliest_finish", null]},
  "specific_gpu_id": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2147483647}, {"type": "string", "pattern": "^(gpu_)?[0-9]{1,5}$"}, {"type": "null"}]},
  "batch_split": {"type": ["boolean", "null"]}}},
"Stop": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 256}, {"type": "null"},
  {"type": "array", "maxItems": 1024, "items": {"type": "string", "minLength": 1, "maxLength": 64}}], "description": "Each of at most 4,096 bytes, 65,536 in all"},
"ResponseFormat": {"type": ["object", "null"], "required": ["type"],
  "description": "What the text is held to. One of it and guided_json, guided_regex, guided_choice, guided_grammar, structured_outputs, grammar (GBNF) and json_schema may be given",
  "anyOf": [{"properties": {"type": {"enum": ["text", "json_object"]}}},
    {"required": ["json_schema"], "properties": {"type": {"const": "json_schema"}, "json_schema": {"type": "object", "required": ["schema"], "properties": {
      "name": {"type": "string"}, "strict": {"type": ["boolean", "null"]}, "schema": {"type": "object"}}}}}]},
"Tools": {"type": ["array", "null"], "maxItems": 1024, "items": {"type": "object", "required": ["type", "function"], "properties": {
  "type": {"const": "function"}, "function": {"type": "object", "required": ["name"], "properties": {
    "name": {"type": "string", "pattern": "^[A-Za-z0-9_.:/-]{1,128}$"}, "description": {"type": ["string", "null"]},
    "parameters": {"type": ["object", "null"]}}}}}},
"LoadAdapterRequest": {"type": "object", "required": ["lora_name", "lora_path"], "properties": {
  "lora_name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Name that requests give as their model"},
  "lora_path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "A GGUF file or a PEFT folder below one of engine.lora_folders, absolute or relative to it"},
  "base_model_name": {"type": ["string", "null"], "description": "The model that it is for; the default one where it is left out"}}},
"UnloadAdapterRequest": {"type": "object", "required": ["lora_name"], "properties": {
  "lora_name": {"type": "string", "minLength": 1, "maxLength": 200}}},
"PredictRequest": {"type": "object", "required": ["text"], "properties": {
  "text": {"type": "string", "minLength": 1},
  "max_length": {"type": ["integer", "null"], "minimum": 1, "maximum": 2147483647, "default": 128, "description": "Generated tokens at most"},
  "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2, "default": 0.7},
  "type": {"type": ["string", "null"], "minLength": 1, "maxLength": 256, "default": "text_generation"},
  "model": {"type": ["string", "null"]},
  "estimated_memory": {"type": ["integer", "null"], "minimum": 0, "maximum": 9223372036854775807, "description": "Bytes reserved until the task ends"},
  "priority": {"enum": ["high", "normal", "low", null]},
  "deadline_s": {"type": ["number", "null"], "minimum": 0.001, "maximum": 31622400},
  "idempotency_key": {"type": ["string", "null"], "maxLength": 256, "description": "Requests with the same key that ask for the same, however it is written, are one task"},
  "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
  "top_k": {"type": ["integer", "null"], "minimum": -1, "maximum": 2147483647},
  "min_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
  "seed": {"type": ["integer", "null"], "minimum": -9223372036854775808, "maximum": 9223372036854775807, "description": "The same seed gives the same text; -1, null and none draw one, which the answer tells"},
  "stop": {"$ref": "#/components/schemas/Stop"},
  "template": {"enum": ["raw", "chat", null]},
  "parse_special": {"type": ["boolean", "null"], "default": false, "description": "Control tokens are read in the text of a raw template"},
  "response_format": {"$ref": "#/components/schemas/ResponseFormat"},
  "gpu_options": {"$ref": "#/components/schemas/GpuOptions"}}},
"BatchPredictRequest": {"type": "object", "required": ["batch"], "properties": {
  "batch": {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"$ref": "#/components/schemas/PredictRequest"}},
  "gpu_options": {"$ref": "#/components/schemas/GpuOptions"}}},
"GenerateRequest": {"type": "object", "required": ["prompt"], "properties": {
  "prompt": {"type": "string", "minLength": 1},
  "parse_special": {"type": ["boolean", "null"], "default": true, "description": "False: what is spelled as a control token is plain text"},
  "model": {"type": ["string", "null"]},
  "max_tokens": {"anyOf": [{"type": ["integer", "null"], "minimum": 1, "maximum": 2147483647}, {"const": -1}], "default": 512, "description": "-1: what the model has left"},
  "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2, "default": 0.7},
  "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "default": 0.95},
  "stop": {"$ref": "#/components/schemas/Stop"}}},
"Messages": {"type": "array", "minItems": 1, "maxItems": 4096, "items": {"type": "object", "required": ["role"], "properties": {
  "role": {"enum": ["system", "user", "assistant", "tool", "developer", "function"]}, "content": {"description": "A text, or a list of text parts; null where an assistant or a tool says nothing"}},
  "anyOf": [{"properties": {"role": {"enum": ["assistant", "tool", "function"]}, "content": {"type": ["string", "null"]}}},
    {"required": ["content"], "properties": {"content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object", "required": ["type", "text"],
      "properties": {"type": {"const": "text"}, "text": {"type": "string"}}}}]}}}]}},
"ChatRequest": {"type": "object", "required": ["messages"], "properties": {
  "messages": {"$ref": "#/components/schemas/Messages"},
  "model": {"type": ["string", "null"]},
  "max_tokens": {"anyOf": [{"type": ["integer", "null"], "minimum": 1, "maximum": 2147483647}, {"const": -1}], "default": 512, "description": "-1: what the model has left"},
  "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2, "default": 0.7},
  "stop": {"$ref": "#/components/schemas/Stop"},
  "stream": {"type": ["boolean", "null"], "default": false}}},
"OpenAiCommon": {"type": "object", "properties": {
  "model": {"type": ["string", "null"]},
  "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2, "default": 1},
  "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
  "top_k": {"type": ["integer", "null"], "minimum": -1, "maximum": 2147483647},
  "min_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
  "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 128},
  "seed": {"type": ["integer", "null"], "minimum": -9223372036854775808, "maximum": 9223372036854775807, "description": "The same seed gives the same text; -1, null and none draw one, which the answer tells"},
  "presence_penalty": {"type": ["number", "null"], "minimum": -2, "maximum": 2},
  "frequency_penalty": {"type": ["number", "null"], "minimum": -2, "maximum": 2},
  "repetition_penalty": {"type": ["number", "null"], "minimum": 0.01, "maximum": 100},
  "logit_bias": {"type": ["object", "null"], "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}, "propertyNames": {"pattern": "^[0-9]{1,5}$"}},
  "ignore_eos": {"type": ["boolean", "null"]},
  "min_tokens": {"type": ["integer", "null"], "minimum": 0, "maximum": 2147483647},
  "stop": {"$ref": "#/components/schemas/Stop"},
  "response_format": {"$ref": "#/components/schemas/ResponseFormat"},
  "stream": {"type": ["boolean", "null"], "default": false},
  "stream_options": {"type": ["object", "null"], "properties": {"include_usage": {"type": ["boolean", "null"]}}},
  "priority": {"anyOf": [{"enum": ["high", "normal", "low", null]}, {"type": "integer", "minimum": -2147483648, "maximum": 2147483647}], "description": "A number as vLLM has it: lower is earlier"},
  "include_stop_str_in_output": {"type": ["boolean", "null"], "default": false},
  "stop_token_ids": {"type": ["array", "null"], "items": {"type": "integer"}, "maxItems": 256, "description": "Tokens that end the answer, beside the model's own"},
  "skip_special_tokens": {"type": ["boolean", "null"], "default": true, "description": "False: control tokens are shown as they are spelled"},
  "prompt_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20, "description": "Log-probabilities of the prompt's tokens, with so many most likely ones; not in streams"},
  "gpu_options": {"$ref": "#/components/schemas/GpuOptions"}}},
"CompletionRequest": {"allOf": [{"$ref": "#/components/schemas/OpenAiCommon"}, {"type": "object", "required": ["prompt"], "properties": {
  "prompt": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "string", "minLength": 1}},
    {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "integer", "minimum": 0, "maximum": 30000}}], "description": "Also a list of lists of token ids"},
  "max_tokens": {"type": ["integer", "null"], "minimum": -1, "maximum": 2147483647, "default": 16, "description": "-1: what the model has left; 0: the prompt alone"},
  "suffix": {"type": ["string", "null"], "description": "The answer stands between prompt and it, by the model's own tokens for that"},
  "parse_special": {"type": ["boolean", "null"], "description": "Whether control tokens are read in prompts; true unless there is a suffix"},
  "add_special_tokens": {"type": ["boolean", "null"], "default": true},
  "echo": {"type": ["boolean", "null"]},
  "logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20}}}]},
"ChatCompletionRequest": {"allOf": [{"$ref": "#/components/schemas/OpenAiCommon"}, {"type": "object", "required": ["messages"], "properties": {
  "messages": {"$ref": "#/components/schemas/Messages"},
  "tools": {"$ref": "#/components/schemas/Tools"},
  "tool_choice": {"enum": ["none", "auto", null], "description": "Where there are tools also required, or an object that names a function"},
  "parallel_tool_calls": {"type": ["boolean", "null"], "default": true},
  "max_tokens": {"anyOf": [{"type": ["integer", "null"], "minimum": 1, "maximum": 2147483647}, {"const": -1}], "description": "-1: what the model has left, as without it"},
  "add_generation_prompt": {"type": ["boolean", "null"], "default": true},
  "continue_final_message": {"type": ["boolean", "null"], "default": false, "description": "The last message goes on instead of being answered"},
  "chat_template_kwargs": {"type": ["object", "null"], "description": "More variables for the model's chat template"},
  "max_completion_tokens": {"anyOf": [{"type": ["integer", "null"], "minimum": 1, "maximum": 2147483647}, {"const": -1}], "description": "OpenAI's newer name"},
  "logprobs": {"type": ["boolean", "null"]},
  "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20}}}]},
"InfillRequest": {"type": "object", "required": ["input_prefix", "input_suffix"], "properties": {
  "input_prefix": {"type": "string"}, "input_suffix": {"type": "string"},
  "input_extra": {"type": ["array", "null"], "items": {"type": "object", "required": ["text"], "properties": {"filename": {"type": ["string", "null"]}, "text": {"type": "string"}}}, "description": "Other files; their last tokens where room is short"},
  "prompt": {"type": ["string", "null"], "description": "What the gap begins with"},
  "n_predict": {"type": ["integer", "null"], "minimum": -2, "maximum": 2147483647, "description": "Generated tokens at most; below 0: what the model has left; 0: the prompt alone"},
  "model": {"type": ["string", "null"]},
  "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2, "default": 0.8},
  "top_k": {"type": ["integer", "null"], "minimum": -1, "maximum": 2147483647, "default": 40},
  "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "default": 0.95},
  "min_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "default": 0.05},
  "seed": {"type": ["integer", "null"], "minimum": -9223372036854775808, "maximum": 9223372036854775807, "description": "The same seed gives the same text; -1, null and none draw one, which the answer tells"},
  "stop": {"$ref": "#/components/schemas/Stop"},
  "stream": {"type": ["boolean", "null"], "default": false}}},
"TokenizeRequest": {"type": "object", "properties": {"model": {"type": ["string", "null"]},
  "prompt": {"type": ["string", "null"], "minLength": 1, "description": "vLLM's name"}, "content": {"type": ["string", "null"], "minLength": 1, "description": "llama-server's name"},
  "add_special_tokens": {"type": ["boolean", "null"], "default": true}, "add_special": {"type": ["boolean", "null"], "default": false}, "parse_special": {"type": ["boolean", "null"], "default": true},
  "return_token_strs": {"type": ["boolean", "null"]}, "with_pieces": {"type": ["boolean", "null"]}},
  "description": "One of prompt, content, messages", "anyOf": [{"required": ["prompt"]}, {"required": ["content"]}, {"required": ["messages"], "properties": {"messages": {"$ref": "#/components/schemas/Messages"}}}]},
"DetokenizeRequest": {"type": "object", "required": ["tokens"], "properties": {"model": {"type": ["string", "null"]},
  "tokens": {"type": "array", "items": {"type": "integer", "minimum": 0}}}},
"EmbeddingRequest": {"type": "object", "required": ["input"], "properties": {
  "input": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "string", "minLength": 1}},
    {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}]},
  "model": {"type": ["string", "null"]},
  "encoding_format": {"enum": ["float", "base64", null]},
  "dimensions": {"type": ["integer", "null"], "minimum": 1, "description": "Values kept of each embedding, from its front; made length 1 again"},
  "gpu_options": {"$ref": "#/components/schemas/GpuOptions"}}},
"FileUpload": {"type": "object", "required": ["purpose", "file"], "properties": {"purpose": {"enum": ["batch"]}, "file": {"type": "string", "contentMediaType": "application/octet-stream"},
  "expires_after": {"$ref": "#/components/schemas/ExpiresAfter"}}},
"ExpiresAfter": {"type": ["object", "null"], "required": ["anchor", "seconds"], "properties": {"anchor": {"enum": ["created_at"]}, "seconds": {"type": "integer", "minimum": 1, "maximum": 2592000}}},
"BatchRequest": {"type": "object", "required": ["input_file_id", "endpoint"], "properties": {
  "input_file_id": {"type": "string", "minLength": 1},
  "endpoint": {"enum": ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]},
  "output_expires_after": {"$ref": "#/components/schemas/ExpiresAfter"},
  "completion_window": {"type": ["string", "null"], "pattern": "^[1-7]d|[1-9][0-9]?[hms]$", "default": "24h"},
  "metadata": {"type": ["object", "null"], "maxProperties": 16, "additionalProperties": {"type": "string", "maxLength": 128}, "propertyNames": {"maxLength": 16}}}},
"StrategyRequest": {"type": "object", "required": ["strategy"], "properties": {
  "strategy": {"enum": ["round_robin", "least_loaded", "memory_optimized", "task_specific", "random", "prefix_affinity", "earliest_finish"]}}},
"ConcurrencyRequest": {"type": "object", "required": ["value"], "properties": {"value": {"type": "integer", "minimum": 1, "maximum": 65536}}},)json";

constexpr std::string_view kAnswers = R"json(
"Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
"OpenAiError": {"type": "object", "required": ["error"], "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"],
  "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"]}, "code": {"type": "string"}}}}},
"Status": {"enum": ["queued", "running", "completed", "failed", "canceled"]},
"Placed": {"type": "object", "required": ["task_id", "gpu_id", "status"], "properties": {
  "task_id": {"type": "string"}, "gpu_id": {"type": "integer"}, "status": {"$ref": "#/components/schemas/Status"}}},
"BatchPlaced": {"type": "object", "required": ["status"], "properties": {
  "status": {"enum": ["running", "queued", "mixed", "all_distributed", "all_queued"]},
  "gpu_id": {"type": "integer"}, "task_ids": {"type": "array", "items": {"type": "string"}},
  "tasks": {"type": "array", "items": {"$ref": "#/components/schemas/Placed"}}}},
"Task": {"type": "object", "required": ["task_id", "status", "gpu_id", "type", "created_at", "started_at", "finished_at"], "properties": {
  "task_id": {"type": "string"}, "status": {"$ref": "#/components/schemas/Status"}, "gpu_id": {"type": "integer"}, "type": {"type": "string"},
  "created_at": {"type": "string"}, "started_at": {"type": ["string", "null"]}, "finished_at": {"type": ["string", "null"]},
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
  "moves": {"type": "array", "description": "To other devices while the task waited, after the choice", "items": {"type": "object", "required": ["from", "to", "at", "reason"],
    "properties": {"from": {"type": "integer"}, "to": {"type": "integer"}, "at": {"type": "string"}, "reason": {"type": "string"}}}}}},
"Gpu": {"type": "object", "required": ["id", "name", "kind", "utilization", "memory_used", "memory_total", "task_count", "queued_count", "temperature", "power", "healthy", "deployments"],
  "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "kind": {"enum": ["cpu", "cuda", "sim"]},
  "utilization": {"type": "number", "minimum": 0, "maximum": 100}, "memory_used": {"type": "integer"}, "memory_total": {"type": "integer"},
  "task_count": {"type": "integer"}, "queued_count": {"type": "integer"}, "temperature": {"type": ["number", "null"]},
  "power": {"type": ["number", "null"]}, "healthy": {"type": "boolean"}, "deployments": {"type": "array", "items": {"type": "string"}}}},
"Gpus": {"type": "object", "required": ["gpus"], "properties": {"gpus": {"type": "array", "items": {"$ref": "#/components/schemas/Gpu"}}, "notice": {"type": "string"}}},
"Deployments": {"type": "object", "required": ["deployments"], "properties": {"deployments": {"type": "object"}}},
"Strategy": {"type": "object", "required": ["strategy"], "properties": {"strategy": {"type": "string"}}},
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
  "status": {"enum": ["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]},
  "output_file_id": {"type": ["string", "null"]}, "error_file_id": {"type": ["string", "null"]}, "created_at": {"type": "integer"},
  "request_counts": {"type": "object", "required": ["total", "completed", "failed"], "properties": {"total": {"type": "integer"}, "completed": {"type": "integer"}, "failed": {"type": "integer"}}},
  "errors": {"type": ["object", "null"]}, "metadata": {"type": ["object", "null"]}}},
"BatchList": {"type": "object", "required": ["object", "data", "has_more"], "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Batch"}}, "has_more": {"type": "boolean"}}},
"TokenizeAnswer": {"type": "object", "required": ["tokens", "count", "max_model_len"], "properties": {"tokens": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "object", "required": ["id", "piece"]}]}}, "count": {"type": "integer"}, "max_model_len": {"type": "integer"}}},
"DetokenizeAnswer": {"type": "object", "required": ["prompt", "content"], "properties": {"prompt": {"type": "string"}, "content": {"type": "string"}}},
"Health": {"type": "object", "required": ["status", "model"], "properties": {"status": {"enum": ["ok", "starting", "draining", "unavailable"]}, "model": {"type": "string"}, "message": {"type": "string"}}},
"Trace": {"type": "object", "required": ["traceEvents"], "properties": {"traceEvents": {"type": "array"}, "displayTimeUnit": {"type": "string"}}},
"Version": {"type": "object", "required": ["version"], "properties": {"version": {"type": "string"}}},
"OpenApi": {"type": "object", "required": ["openapi"]}
}
)json";
}  // namespace

std::string_view openapi_schemas() {
  static const std::string all = std::string(kRequests) + std::string(kAnswers);
  return all;
}

}  // namespace altlas::server
