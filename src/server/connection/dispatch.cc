#include "server/connection/dispatch.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/log.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "server/http/content_encoding.h"
#include "server/http/cors.h"
#include "server/http/problem.h"
#include "server/http/request_reader.h"
#include "server/metrics.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;

// Whether the route takes a body of `content_type` ("application/json" stands for any JSON).
bool is_type(std::string_view content_type, std::string_view wanted) {
  const std::string_view type = content_type.substr(0, content_type.find(';'));
  const std::string name = lower(trim_end(type, " \t"));
  if (name == wanted) return true;
  return wanted == "application/json" && name.starts_with("application/") &&
         name.ends_with("+json");
}

// Returns the path in the route table: the metrics' path is a setting.
std::string_view table_path(std::string_view path, const config::MonitoringConfig& config) {
  if (path == metrics_path(config)) return kMetricsPattern;
  return path == kMetricsPattern ? std::string_view() : path;
}

// Answers "OPTIONS *": what the server as a whole takes (RFC 9110, section 9.3.7).
Response server_options() {
  Response response;
  response.status = 204;
  response.headers.emplace_back("Allow", "GET, HEAD, POST, DELETE, OPTIONS");
  return response;
}

// Adds a span to the trace, named by its route, in group 0.
void record_request(const Services& services, std::string_view pattern, int status, TimeUs from,
                    TimeUs until) {
  if (services.tracer == nullptr) return;
  telemetry::Span span{
      .name = pattern, .category = "server", .start = from, .end = until, .track = {}};
  span.args[0] = {"status", status};
  services.tracer->record_beside(span, "requests");
}

// Puts `meta` before the closing brace of a JSON object.
boost::asio::awaitable<void> add_meta(Services& services, config::ApiMetadataConfig wanted,
                                      std::string request_id, TimeUs received, Response& response) {
  if (response.stream || response.content_type != "application/json" ||
      !response.body.starts_with('{'))
    co_return;
  const TimeUs now = system_clock().now();
  const double total_ms = static_cast<double>(now - received) / 1000.0;
  json::object meta{{"request_id", repair_utf8(request_id)}, {"timestamp", to_rfc3339(now)}};
  if (wanted.processing_time)
    meta["processing_time"] = {{"total_ms", total_ms}, {"components", {{"handler_ms", total_ms}}}};
  if (wanted.trace_id) meta["trace_id"] = repair_utf8(request_id);
  if (wanted.version) meta["version"] = services.version;
  if (wanted.gpu_resources) {
    json::array gpus;
    for (const control::DeviceView& device : co_await services.service.devices())
      gpus.push_back({{"gpu_id", device.id.value},
                      {"utilization", device.utilization},
                      {"memory_used", device.memory_used}});
    meta["gpu_resources"] = std::move(gpus);
  }
  response.body.resize(response.body.rfind('}'));  // A text file's line end may follow the brace.
  response.body +=
      (response.body.size() > 1 ? ",\"meta\":" : "\"meta\":") + text::json_text(meta) + "}";
}

// co_spawn wants results that can be made from nothing; a Result can't.
boost::asio::awaitable<std::optional<Result<Response>>> optional_of(
    boost::asio::awaitable<Result<Response>> answer) {
  co_return co_await std::move(answer);
}

// A refused coding is answered with those that are taken (RFC 9110, section 12.5.3).
Response undecoded(const Error& error, std::string_view path) {
  Response response = problem(error, openai_style(path));
  if (error.code() == ErrorCode::kUnsupported)
    response.headers.emplace_back("Accept-Encoding", kAcceptedEncodings);
  return response;
}

// The answer if no route takes the request: a preflight, 404 or 405.
Result<Response> without_route(const Request& request, const std::string& allow,
                               const config::ServerConfig& server) {
  if (request.method == "OPTIONS" && request.path == "*") return server_options();
  if (allow.empty())
    return not_found(fmt::format("no such path '{}': /openapi.json lists every one",
                                 request.path.substr(0, 128)))
        .with_reason("unknown_url");
  if (request.method == "OPTIONS") return preflight(server, request, allow);
  const Error wrong = invalid(fmt::format("{} is not allowed on {}: use {}", request.method,
                                          request.path.substr(0, 128), allow));
  Response answer = problem(wrong, openai_style(request.path), 405);
  answer.headers.emplace_back("Allow", allow);
  return answer;
}

boost::asio::awaitable<Result<Response>> run_route(Request request, Result<Admitted> admitted,
                                                   Services& services,
                                                   const config::ServerConfig& server,
                                                   std::string_view& pattern) {
  if (!admitted.ok()) co_return admitted.error();
  request.identity = std::move(admitted->identity);
  const RouteMatch match = std::move(admitted->match);
  if (match.route == nullptr) co_return without_route(request, match.allow, server);
  pattern = match.route->pattern;
  if (!match.route->request.empty() && !is_type(request.content_type, match.route->request_type)) {
    co_return Error(ErrorCode::kUnsupported,
                    fmt::format("Content-Type is '{}', should be {}",
                                request.content_type.substr(0, 64), match.route->request_type));
  }
  if (!request.body.empty() && !request.content_encoding.empty()) {
    const uint64_t bytes_max = body_limit(services.config.server, request.method, request.path);
    const auto packed_bytes = static_cast<int64_t>(request.body.size());
    if (request.memory)
      ALTLAS_CO_TRY_VOID(request.memory->hold(packed_bytes + static_cast<int64_t>(bytes_max)));
    auto plain = decode_content(request.content_encoding, std::move(request.body), bytes_max);
    if (!plain.ok()) co_return undecoded(plain.error(), request.path);
    request.body = *std::move(plain);
    if (request.memory)
      ALTLAS_CO_TRY_VOID(request.memory->hold(static_cast<int64_t>(request.body.size())));
  }
  request.parameters = match.parameters;
  if (!services.large || request.body.size() < kLargeBody)
    co_return co_await match.route->handler(std::move(request), services);
  // The result has a name because GCC destroys temporaries of a co_await twice.
  auto answer = optional_of(match.route->handler(std::move(request), services));
  co_return *co_await boost::asio::co_spawn(*services.large, std::move(answer),
                                            boost::asio::use_awaitable);
}

}  // namespace

Result<Admitted> admit(const Request& head, const Services& services, const Auth& auth) {
  Admitted out;
  out.match = match_route(routes(), head.method, table_path(head.path, services.config.monitoring));
  const Route* route = out.match.route;
  if (route != nullptr && route->access == Access::kOpen) return out;
  // Browsers ask without a key what pages of an allowed origin may do.
  if (route == nullptr && head.method == "OPTIONS" && !out.match.allow.empty() &&
      origin_allowed(services.now()->server, head.origin))
    return out;
  ALTLAS_TRY(out.identity, auth.identify(head.authorization));
  if (route != nullptr) ALTLAS_TRY_VOID(check_access(out.identity, route->access));
  return out;
}

boost::asio::awaitable<Response> dispatch(Request request, Result<Admitted> admitted,
                                          Services& services) {
  const std::string path = request.path, request_id = request.request_id;
  const TimeUs received = request.received;
  const std::string origin = request.origin;
  const auto config = services.now();  // The whole request sees one state.
  Response response;
  std::string_view pattern = "none";
  try {
    auto result = co_await run_route(std::move(request), std::move(admitted), services,
                                     config->server, pattern);
    response = result.ok() ? *std::move(result) : problem(result.error(), openai_style(path));
    // The log gets the files' whole paths, the answer does not.
    if (!result.ok() && response.status >= 500 &&
        without_folders(result.error().message()) != result.error().message())
      log::warn("{}: {}", path, result.error().message());
  } catch (const std::bad_alloc&) {
    response = problem(
        Error(ErrorCode::kUnavailable, "out of memory for this request: send less, or later"),
        openai_style(path));
  } catch (const std::exception& error) {
    log::error("{} failed: {}", path, error.what());
    response = problem(Error(ErrorCode::kInternal, "internal error, logged"), openai_style(path));
  }
  if (config->api_metadata.enabled)
    co_await add_meta(services, config->api_metadata, request_id, received, response);
  response.headers.emplace_back("X-Request-Id", request_id);
  add_cors(config->server, origin, response);
  const TimeUs answered = std::max(received, system_clock().now());
  const double seconds = static_cast<double>(answered - received) / static_cast<double>(kSecond);
  count_request(services.metrics, pattern, response.status, seconds);
  record_request(services, pattern, response.status, received, answered);
  co_return response;
}

}  // namespace altlas::server
