// Goal: docs/api.md and docs/metrics.md say what the code says. Method: the texts are compared;
// with ALTLAS_UPDATE_DOCS set they are written instead.
#include <gtest/gtest.h>

#include "control/metrics.h"
#include "server/http/route.h"
#include "server/metrics.h"
#include "server/reference/api_reference.h"
#include "server/routes.h"
#include "telemetry/metrics.h"
#include "telemetry/process.h"
#include "testing/generated_file.h"

namespace altlas::server {
namespace {

void expect_file(const std::string& path, const std::string& want) {
  altlas::testing::expect_generated_file(ALTLAS_SOURCE_DIR, path, want);
}

TEST(Reference, ApiIsCurrent) {
  const std::string text = api_markdown();
  for (const Route& route : routes()) {
    std::string path(route.pattern);
    std::erase(path, '*');
    EXPECT_NE(text.find("`" + std::string(route.method) + " " + path + "`"), std::string::npos)
        << path;
  }
  expect_file("docs/api.md", text);
}

TEST(Reference, MetricsAreCurrent) {
  std::string text =
      "# Metrics\n\nGenerated from the metric tables; do not edit. `GET /metrics` tells them as "
      "Prometheus text.\n";
  const auto add = [&](std::string_view title, std::span<const telemetry::MetricDef* const> list) {
    text += "\n## " + std::string(title) + "\n\n" + telemetry::metrics_markdown(list);
  };
  add("Tasks, replicas, devices", control::kControlMetrics);
  add("Names of the Kubernetes inference extension (`monitoring.inference_extension_metrics`)",
      control::kInferenceExtensionMetrics);
  add("Journal", control::kJournalMetrics);
  add("HTTP", kServerMetrics);
  add("The process", telemetry::kProcessMetrics);
  add("Metrics themselves", telemetry::kTelemetryMetrics);
  expect_file("docs/metrics.md", text);
}

}  // namespace
}  // namespace altlas::server
