#include "telemetry/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include "telemetry/metrics.h"

namespace altlas::telemetry {
namespace {

using ::testing::HasSubstr;

constexpr MetricDef kRequests{.name = "altlas_test_requests_total",
                              .kind = MetricKind::kCounter,
                              .help = "Requests answered.",
                              .labels = {"route", "status"}};
constexpr MetricDef kDepth{.name = "altlas_test_queue_depth",
                           .kind = MetricKind::kGauge,
                           .help = "Tasks \\ waiting\nnow."};
constexpr double kBounds[] = {0.5, 1, 2.5};
constexpr MetricDef kLatency{.name = "altlas_test_latency_seconds",
                             .kind = MetricKind::kHistogram,
                             .help = "Latency.",
                             .unit = "s",
                             .labels = {"gpu_id"},
                             .buckets = kBounds};

// Reads exposition text as strictly as `promtool check metrics` does, and fails the test at the
// first broken rule.
class Checker {
 public:
  explicit Checker(const std::string& text) { read(text); }

 private:
  void read(const std::string& text) {
    ASSERT_TRUE(text.empty() || text.ends_with('\n'));
    std::string_view rest = text;
    while (!rest.empty() && !::testing::Test::HasFatalFailure()) {
      const size_t end = rest.find('\n');
      line(rest.substr(0, end));
      rest.remove_prefix(end + 1);
    }
    finish_histogram();
  }
  static bool name(std::string_view text) {
    if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
    return std::ranges::all_of(text, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == ':';
    });
  }
  void line(std::string_view text) {
    SCOPED_TRACE(std::string(text));
    if (text.starts_with("# HELP ")) {
      finish_histogram();
      text.remove_prefix(7);
      family_ = text.substr(0, text.find(' '));
      ASSERT_TRUE(name(family_));
      ASSERT_TRUE(families_.insert(family_).second) << "a metric is there twice or in two pieces";
      type_ = "";
    } else if (text.starts_with("# TYPE ")) {
      text.remove_prefix(7);
      ASSERT_EQ(text.substr(0, text.find(' ')), family_);
      type_ = text.substr(text.find(' ') + 1);
      ASSERT_TRUE(type_ == "counter" || type_ == "gauge" || type_ == "histogram");
    } else {
      sample(text);
    }
  }
  void sample(std::string_view text) {
    ASSERT_NE(type_, "") << "a sample before its TYPE";
    ASSERT_TRUE(series_.insert(std::string(text.substr(0, text.rfind(' ')))).second)
        << "a series is there twice";
    const std::string_view metric = text.substr(0, text.find_first_of("{ "));
    text.remove_prefix(metric.size());
    std::string le, others;
    if (text.starts_with('{')) {
      text.remove_prefix(1);
      while (!text.starts_with('}')) {
        const std::string_view label = text.substr(0, text.find('='));
        ASSERT_TRUE(name(label));
        text.remove_prefix(label.size() + 1);
        std::string value;
        ASSERT_TRUE(quoted(text, value));
        (label == "le" ? le : others) += value + ";";
        if (text.starts_with(',')) text.remove_prefix(1);
      }
      text.remove_prefix(1);
    }
    ASSERT_TRUE(text.starts_with(' '));
    text.remove_prefix(1);
    double value = 0;
    if (text == "+Inf")
      value = std::numeric_limits<double>::infinity();
    else if (text != "NaN" && text != "-Inf") {
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      ASSERT_TRUE(error == std::errc() && end == text.data() + text.size());
    }
    if (type_ != "histogram") {
      ASSERT_EQ(metric, family_);
      if (type_ == "counter") {
        ASSERT_GE(value, 0);
      }
      return;
    }
    histogram(metric, le, others, value);
  }
  void histogram(std::string_view metric, const std::string& le, const std::string& others,
                 double value) {
    const std::string_view suffix = metric.substr(family_.size());
    if (suffix == "_bucket") {
      if (others != others_) finish_histogram();
      others_ = others;
      ASSERT_GE(value, buckets_) << "buckets are cumulative";
      buckets_ = value;
      last_le_ = le;
    } else if (suffix == "_count") {
      ASSERT_EQ(others, others_);
      ASSERT_EQ(value, buckets_);
      counted_ = true;
    } else {
      ASSERT_EQ(suffix, "_sum");
    }
  }
  void finish_histogram() {
    if (!last_le_.empty()) {
      ASSERT_EQ(last_le_, "+Inf;");
      ASSERT_TRUE(counted_);
    }
    last_le_ = others_ = "";
    buckets_ = 0;
    counted_ = false;
  }
  static bool quoted(std::string_view& text, std::string& value) {
    if (!text.starts_with('"')) return false;
    for (size_t i = 1; i < text.size(); ++i) {
      if (text[i] == '\\') {
        ++i;
        if (i >= text.size() || (text[i] != '\\' && text[i] != 'n' && text[i] != '"')) return false;
        value += text[i] == 'n' ? '\n' : text[i];
      } else if (text[i] == '"') {
        text.remove_prefix(i + 1);
        return true;
      } else {
        value += text[i];
      }
    }
    return false;
  }

  std::set<std::string, std::less<>> families_;
  std::set<std::string> series_;
  std::string family_, type_, last_le_, others_;
  double buckets_ = 0;
  bool counted_ = false;
};

// Goal: the text is what Prometheus' format says, byte for byte. Method: one metric of each kind.
TEST(Registry, PrometheusText) {
  Registry registry;
  registry.counter(kRequests, {"/predict", "200"})->add(3);
  registry.counter(kRequests, {"/health", "200"})->add(0.5);
  registry.gauge(kDepth)->set(-2);
  Histogram* latency = registry.histogram(kLatency, {"0"});
  for (const double value : {0.1, 0.5, 0.75, 100.0}) latency->observe(value);
  const std::string text = registry.write_prometheus();
  EXPECT_EQ(text,
            "# HELP altlas_test_latency_seconds Latency.\n"
            "# TYPE altlas_test_latency_seconds histogram\n"
            "altlas_test_latency_seconds_bucket{gpu_id=\"0\",le=\"0.5\"} 2\n"
            "altlas_test_latency_seconds_bucket{gpu_id=\"0\",le=\"1\"} 3\n"
            "altlas_test_latency_seconds_bucket{gpu_id=\"0\",le=\"2.5\"} 3\n"
            "altlas_test_latency_seconds_bucket{gpu_id=\"0\",le=\"+Inf\"} 4\n"
            "altlas_test_latency_seconds_sum{gpu_id=\"0\"} 101.35\n"
            "altlas_test_latency_seconds_count{gpu_id=\"0\"} 4\n"
            "# HELP altlas_test_queue_depth Tasks \\\\ waiting\\nnow.\n"
            "# TYPE altlas_test_queue_depth gauge\n"
            "altlas_test_queue_depth -2\n"
            "# HELP altlas_test_requests_total Requests answered.\n"
            "# TYPE altlas_test_requests_total counter\n"
            "altlas_test_requests_total{route=\"/health\",status=\"200\"} 0.5\n"
            "altlas_test_requests_total{route=\"/predict\",status=\"200\"} 3\n");
  Checker checker(text);
}

// Goal: hostile label values and odd numbers keep the text valid. Method: quotes, line ends,
// non-UTF-8, 1 MB, infinities.
TEST(Registry, HostileLabelsAndNumbers) {
  Registry registry;
  registry.counter(kRequests, {"a\"b\\c\nd} 1", "\xff\xc3(\xed\xa0\x80"})->add();
  registry.counter(kRequests, {std::string(1 << 20, 'x'), "ünïcode"})->add();
  registry.gauge(kDepth)->set(std::numeric_limits<double>::infinity());
  const std::string text = registry.write_prometheus();
  Checker checker(text);
  EXPECT_THAT(text, HasSubstr("{route=\"a\\\"b\\\\c\\nd} 1\",status=\"??"
                              "(???\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("status=\"ünïcode\""));
  EXPECT_THAT(text, HasSubstr("altlas_test_queue_depth +Inf\n"));
  EXPECT_LT(text.size(), 1000u);
  registry.gauge(kDepth)->set(std::nan(""));
  EXPECT_THAT(registry.write_prometheus(), HasSubstr("altlas_test_queue_depth NaN\n"));
  registry.gauge(kDepth)->set(1e300);
  Checker large(registry.write_prometheus());
}

// Goal: label sets can't make the registry grow without limit, and no value is lost. Method: three
// times the limit.
TEST(Registry, BoundedCardinality) {
  Registry registry;
  for (size_t i = 0; i < 3 * kSeriesMax; ++i)
    registry.counter(kRequests, {std::to_string(i), "200"})->add();
  const std::string text = registry.write_prometheus();
  Checker checker(text);
  EXPECT_THAT(
      text,
      HasSubstr("altlas_test_requests_total{route=\"_overflow\",status=\"_overflow\"} 2000\n"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "altlas_telemetry_series_dropped_total{metric=\"altlas_test_requests_total\"} 2000\n"));
  EXPECT_LT(std::ranges::count(text, '\n'), static_cast<std::ptrdiff_t>(kSeriesMax) + 10);
}

// Goal: equal labels give the same handle, and removing forgets it. Method: ask, remove, ask again.
TEST(Registry, HandlesAndRemove) {
  Registry registry;
  Counter* counter = registry.counter(kRequests, {"a", "b"});
  EXPECT_EQ(counter, registry.counter(kRequests, {"a", "b"}));
  EXPECT_NE(counter, registry.counter(kRequests, {"b", "a"}));
  counter->add(7);
  registry.remove(kRequests, {"a", "b"});
  EXPECT_EQ(registry.counter(kRequests, {"a", "b"})->value(), 0);
  registry.remove(kRequests, {"never", "there"});
  registry.remove(kDepth, {});
}

// Goal: nothing is lost when threads update while one writes. Method: four writers, one reader,
// exact totals.
TEST(Registry, ManyThreads) {
  Registry registry;
  constexpr int kAdds = 20000;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&registry, t] {
        Histogram* latency = registry.histogram(kLatency, {"0"});
        for (int i = 0; i < kAdds; ++i) {
          registry.counter(kRequests, {"x", i % 2 == 0 ? "200" : "404"})->add();
          registry.gauge(kDepth)->add(t % 2 == 0 ? 1 : -1);
          latency->observe(0.25);
        }
      });
    }
    for (int i = 0; i < 50; ++i) Checker checker(registry.write_prometheus());
  }
  EXPECT_EQ(registry.counter(kRequests, {"x", "200"})->value(), 2 * kAdds);
  EXPECT_EQ(registry.gauge(kDepth)->value(), 0);
  const auto snapshot = registry.histogram(kLatency, {"0"})->snapshot();
  EXPECT_EQ(snapshot.count, 4u * kAdds);
  EXPECT_EQ(snapshot.sum, 0.25 * 4 * kAdds);
}

// Goal: collectors set gauges at each write, and none runs after it was removed. Method: count the
// runs.
TEST(Registry, Collectors) {
  Registry registry;
  int runs = 0;
  const auto id = registry.add_collector([&] { registry.gauge(kDepth)->set(++runs); });
  EXPECT_THAT(registry.write_prometheus(), HasSubstr("altlas_test_queue_depth 1\n"));
  EXPECT_THAT(registry.write_prometheus(), HasSubstr("altlas_test_queue_depth 2\n"));
  registry.remove_collector(id);
  registry.write_prometheus();
  EXPECT_EQ(runs, 2);
}

// Goal: bounds are inclusive, quantiles interpolate, NaN does not count. Method: values at and
// around the bounds.
TEST(Histogram, BucketsAndQuantiles) {
  Histogram histogram(kBounds);
  EXPECT_EQ(quantile(histogram.snapshot(), kBounds, 0.5), 0);
  for (const double value : {-1.0, 0.5, 0.500001, 1.0, 2.5, 3.0}) histogram.observe(value);
  histogram.observe(std::nan(""));
  EXPECT_EQ(histogram.snapshot().counts, (std::vector<uint64_t>{2, 2, 1, 1}));
  EXPECT_DOUBLE_EQ(quantile(histogram.snapshot(), kBounds, 0.5), 0.75);
  EXPECT_DOUBLE_EQ(quantile(histogram.snapshot(), kBounds, 1), 2.5);
  EXPECT_DOUBLE_EQ(quantile(histogram.snapshot(), kBounds, 0), 0);
}

// Goal: a definition that is used in two ways, or is no metric, is a bug that stops the process.
TEST(RegistryDeathTest, WrongDefinitions) {
  Registry registry;
  registry.counter(kRequests, {"a", "b"});
  EXPECT_DEATH(registry.counter(kRequests, {"a"}), "altlas_test_requests_total");
  EXPECT_DEATH(registry.gauge(kRequests, {"a", "b"}), "altlas_test_requests_total");
  constexpr MetricDef kBadName{.name = "9lives", .help = "x"};
  EXPECT_DEATH(registry.counter(kBadName), "9lives");
  constexpr MetricDef kNoBuckets{.name = "a", .kind = MetricKind::kHistogram, .help = "x"};
  EXPECT_DEATH(registry.histogram(kNoBuckets), "check failed");
}

// Goal: the table for people names every given metric.
TEST(Registry, Markdown) {
  const MetricDef* metrics[] = {&kRequests, &kLatency};
  EXPECT_EQ(
      metrics_markdown(metrics),
      "| Metric | Kind | Labels | Unit | Meaning |\n|---|---|---|---|---|\n"
      "| `altlas_test_requests_total` | counter | `route`, `status` |  | Requests answered. |\n"
      "| `altlas_test_latency_seconds` | histogram | `gpu_id` | s | Latency. |\n");
}

// Goal: a hidden metric is not written, and has counted on when it is shown again. Method: one of
// each kind beside one that stays.
TEST(Registry, HiddenMetrics) {
  Registry registry;
  static constexpr double kBounds[] = {1, 2};
  static constexpr MetricDef kCount{.name = "altlas_test_hidden_total", .help = "A."};
  static constexpr MetricDef kLevel{
      .name = "altlas_test_hidden_level", .kind = MetricKind::kGauge, .help = "B."};
  static constexpr MetricDef kTimes{.name = "altlas_test_hidden_seconds",
                                    .kind = MetricKind::kHistogram,
                                    .help = "C.",
                                    .buckets = kBounds};
  static constexpr MetricDef kStays{.name = "altlas_test_hidden_not_total", .help = "D."};
  const MetricDef* const hidden[] = {&kCount, &kLevel, &kTimes};
  for (const MetricDef* one : hidden) registry.show(*one, false);
  registry.counter(kCount)->add(3);
  registry.gauge(kLevel)->set(4);
  registry.histogram(kTimes)->observe(1.5);
  registry.counter(kStays)->add(5);
  EXPECT_EQ(registry.write_prometheus(),
            "# HELP altlas_test_hidden_not_total D.\n"
            "# TYPE altlas_test_hidden_not_total counter\naltlas_test_hidden_not_total 5\n");
  for (const MetricDef* one : hidden) registry.show(*one, true);
  const std::string text = registry.write_prometheus();
  EXPECT_THAT(text, HasSubstr("altlas_test_hidden_total 3\n"));
  EXPECT_THAT(text, HasSubstr("altlas_test_hidden_level 4\n"));
  EXPECT_THAT(text, HasSubstr("altlas_test_hidden_seconds_count 1\n"));
}

}  // namespace
}  // namespace altlas::telemetry
