// each_body(): every request body of the API, with the defaults of its route. /openapi.json,
// docs/api.md, the tests and the words of json_body_fuzz are made from this list.
#pragma once

#include "server/batches/bodies.h"
#include "server/device_bodies.h"
#include "server/openai/bodies.h"
#include "server/openai/llm_bodies.h"
#include "server/tasks/predict_body.h"

namespace altlas::server {

// Calls visit(name of the schema in the route's row, body).
void each_body(auto&& visit) {
  visit("PredictRequest", PredictBody());
  visit("BatchPredictRequest", BatchPredictBody());
  visit("StrategyRequest", StrategyBody());
  visit("ConcurrencyRequest", ConcurrencyBody());
  visit("ScaleRequest", ScaleBody());
  visit("GenerateRequest", GenerateBody());
  visit("PlainGenerateRequest", plain_generate_body());
  visit("ChatRequest", ChatBody());
  visit("CompletionRequest", CompletionBody());
  visit("ChatCompletionRequest", ChatCompletionBody());
  visit("InfillRequest", InfillBody());
  visit("EmbeddingRequest", EmbeddingBody());
  visit("TokenizeRequest", TokenizeBody());
  visit("DetokenizeRequest", DetokenizeBody());
  visit("LoadAdapterRequest", LoadAdapterBody());
  visit("UnloadAdapterRequest", UnloadAdapterBody());
  visit("FileUpload", FileUploadBody());
  visit("BatchRequest", BatchBody());
  visit("BatchLine", BatchLineBody());
}

}  // namespace altlas::server
