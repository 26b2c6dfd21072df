#include "server/metrics.h"

#include <string>

namespace altlas::server {

void count_request(telemetry::Registry& registry, std::string_view route, int status,
                   double seconds) {
  registry.counter(kRequestsTotal, {route, std::to_string(status)})->add();
  registry.histogram(kRequestSeconds, {route})->observe(seconds);
}

}  // namespace altlas::server
