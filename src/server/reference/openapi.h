// /openapi.json: the API described from the route table, the rows of request bodies and the schemas
// of answers.
#pragma once

#include <boost/json/fwd.hpp>

#include <string>
#include <string_view>

#include "config/config.h"

namespace altlas::server {

// OpenAPI 3.1 of every route, under the settings `now`: where keys are configured, requests need
// one. `metrics_path`: where /metrics is; empty: nowhere.
std::string openapi_json(std::string_view version, const config::Config& now,
                         std::string_view metrics_path = "/metrics");

// JSON Schemas of request bodies and of what several of them share, by name.
boost::json::object request_schemas(const config::Config& now);
// Those, and the schemas of answers; the names are those that the route table uses.
boost::json::object openapi_schemas(const config::Config& now);

}  // namespace altlas::server
