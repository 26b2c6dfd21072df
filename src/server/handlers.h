// What handlers work with: Services.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/json/fwd.hpp>

#include "config/config.h"
#include "control/service.h"
#include "server/http/http.h"
#include "server/live_config.h"
#include "server/prompt/prompt.h"
#include "telemetry/registry.h"
#include "telemetry/trace.h"

namespace altlas::server {

class Auth;
class BatchRunner;
class FileDesk;

// What the handlers use. Owned by Server; outlives every request.
struct Services {
  const config::Config& config;  // As at the start; what SIGHUP changes is in now().
  const LiveConfig& live;
  control::Service& service;
  TextPool& prompts;
  telemetry::Registry& metrics;
  std::string version;
  TimeUs started = 0;
  std::string notice;  // The notice of the devices, for people; may be empty.
  // All metrics as Prometheus text, written off the io threads.
  std::function<boost::asio::awaitable<std::string>()> metrics_text;
  telemetry::Tracer* tracer = nullptr;  // May be null: no spans are kept.
  // Its spans of the last seconds as a Chrome trace, written off the io threads; with `tracer`.
  std::function<boost::asio::awaitable<std::string>(double seconds)> trace_text;
  const Auth* auth = nullptr;  // For streams that outlast their key; may be null.
  FileDesk* desk = nullptr;        // Set before the first request.
  BatchRunner* batches = nullptr;  // The same.
  std::shared_ptr<RequestMemory> request_memory;  // The same.
  // Where handlers of large bodies run, one at a time, so that reading them never holds up the io
  // threads; outlives every request. None: on the io threads.
  std::optional<boost::asio::any_io_executor> large;
  // The configuration as it is now: to be read for settings that SIGHUP may change.
  std::shared_ptr<const config::Config> now() const { return live.get(); }
};

// Bodies from this many bytes on are large: reading one takes milliseconds.
inline constexpr size_t kLargeBody = 256 << 10;

// Where the handler of `request` is to run: services.large for large bodies, else `usual`.
inline boost::asio::any_io_executor executor_for(const Request& request, const Services& services,
                                                 boost::asio::any_io_executor usual) {
  return services.large && request.body.size() >= kLargeBody ? *services.large : std::move(usual);
}

// The request's body, which must be an object, no deeper than server.json_depth_max.
// Errors: kInvalid, saying where.
Result<boost::json::object> read_body(const Request& request, const Services& services);

}  // namespace altlas::server
