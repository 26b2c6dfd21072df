// /openapi.json: the API described from the route table and the schemas beside it.
#pragma once

#include <string>
#include <string_view>

namespace altlas::server {

// OpenAPI 3.1 of every route. `with_auth`: keys are configured, so requests need one.
// `metrics_path`: where /metrics is; empty: nowhere.
std::string openapi_json(std::string_view version, bool with_auth,
                         std::string_view metrics_path = "/metrics");

// Named JSON Schemas, as one JSON object; the names are those that the route table uses.
std::string_view openapi_schemas();

}  // namespace altlas::server
