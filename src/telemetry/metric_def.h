// What a metric is: the row that a room's <room>/metrics.h has for it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace altlas::telemetry {

enum class MetricKind : uint8_t { kCounter, kGauge, kHistogram };

inline constexpr size_t kLabelsMax = 6;

// A constant with static lifetime:
//   inline constexpr MetricDef kRequests{.name = "altlas_server_requests_total", .kind =
//   MetricKind::kCounter,
//                                        .help = "Requests answered.", .unit = "requests", .labels
//                                        = {"route"}};
// The name is altlas_<room>_<noun>_<unit>, or one that monitoring of GPUs knows (gpu_…, DCGM_…).
struct MetricDef {
  std::string_view name;
  MetricKind kind = MetricKind::kCounter;
  std::string_view help;
  std::string_view unit = "";
  std::array<std::string_view, kLabelsMax> labels = {};  // Empty ones at the end do not count.
  // For a histogram: upper bounds, ascending, without infinity.
  std::span<const double> buckets = {};

  constexpr size_t label_count() const {
    size_t count = 0;
    while (count < kLabelsMax && !labels[count].empty()) ++count;
    return count;
  }
};

// Bounds for times from 1 ms to 10 minutes, in seconds.
inline constexpr double kSecondsBuckets[] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600};
// Bounds for the time between two tokens and for steps, in seconds.
inline constexpr double kStepSecondsBuckets[] = {
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5};
// Bounds for the same in milliseconds, for names that end in _ms.
inline constexpr double kMillisecondsBuckets[] = {
    1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000};
// Bounds for counts of tokens.
inline constexpr double kTokensBuckets[] = {1,    4,    16,   64,   128,   256,   512,
                                            1024, 2048, 4096, 8192, 16384, 32768, 131072};

std::string_view to_string(MetricKind kind);

// A table in Markdown of these metrics: name, kind, labels, unit, help.
std::string metrics_markdown(std::span<const MetricDef* const> metrics);

}  // namespace altlas::telemetry
