// Counters, gauges and histograms with labels, and their Prometheus text.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "telemetry/metric_def.h"

namespace altlas::telemetry {

// Label sets of one metric; the rest share one, "_overflow".
inline constexpr size_t kSeriesMax = 1000;
inline constexpr size_t kLabelValueBytesMax = 128;  // Longer values are cut.
inline constexpr size_t kBucketsMax = 64;

// Content-Type of write_prometheus().
inline constexpr std::string_view kPrometheusContentType =
    "text/plain; version=0.0.4; charset=utf-8";

// Only grows. Any thread, no lock; threads add to different cache lines.
class Counter {
 public:
  // `amount` is finite and not negative.
  void add(double amount = 1);
  double value() const;

 private:
  static constexpr size_t kStripes = 4;
  struct alignas(64) Stripe {
    std::atomic<double> value = 0;
  };
  std::array<Stripe, kStripes> stripes_;
};

// Goes up and down. Any thread, no lock.
class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_ = 0;
};

// Counts values by upper bound. Any thread, no lock.
class Histogram {
 public:
  // `bounds`: ascending, at most kBucketsMax, of static lifetime.
  explicit Histogram(std::span<const double> bounds);

  // NaN is left out.
  void observe(double value);

  struct Snapshot {
    std::vector<uint64_t> counts;  // One for each bound and one for what is above; not cumulative.
    uint64_t count = 0;            // Their sum.
    double sum = 0;
  };
  Snapshot snapshot() const;
  std::span<const double> bounds() const { return bounds_; }

 private:
  std::span<const double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  std::atomic<double> sum_ = 0;
};

// The value below which a share `q` (0 to 1) lies, linear inside a bucket; the last bound for what
// is above all of them; 0 without values.
double quantile(const Histogram::Snapshot& snapshot, std::span<const double> bounds, double q);

// Owner of all metrics. Any thread. Handles stay valid until remove() of their series or the
// registry's end; getting one takes a lock, so keep it. A name used with two different definitions,
// or a wrong number of labels, aborts.
class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  using Labels = std::span<const std::string_view>;
  Counter* counter(const MetricDef& def, Labels labels = {});
  Gauge* gauge(const MetricDef& def, Labels labels = {});
  Histogram* histogram(const MetricDef& def, Labels labels = {});
  Counter* counter(const MetricDef& def, std::initializer_list<std::string_view> labels) {
    return counter(def, Labels(labels.begin(), labels.size()));
  }
  Gauge* gauge(const MetricDef& def, std::initializer_list<std::string_view> labels) {
    return gauge(def, Labels(labels.begin(), labels.size()));
  }
  Histogram* histogram(const MetricDef& def, std::initializer_list<std::string_view> labels) {
    return histogram(def, Labels(labels.begin(), labels.size()));
  }

  // Forgets one series (a replica or device that is gone); its handle must not be used any more.
  void remove(const MetricDef& def, Labels labels);
  void remove(const MetricDef& def, std::initializer_list<std::string_view> labels) {
    remove(def, Labels(labels.begin(), labels.size()));
  }

  // Whether write_prometheus() has the metric; it is counted all the same. Shown unless said
  // otherwise.
  void show(const MetricDef& def, bool shown);

  // `collect` runs before each write, on the writing thread, to set gauges that nobody updates
  // otherwise. It may use this registry, except to write it or to add and remove collectors.
  using CollectorId = uint64_t;
  CollectorId add_collector(std::function<void()> collect);
  // After it returns, the collector does not run any more.
  void remove_collector(CollectorId id);

  // Prometheus text format 0.0.4 of every series, by name and labels. One writer at a time, updates
  // go on.
  std::string write_prometheus();

 private:
  struct Family;
  struct Series;
  Series& series(const MetricDef& def, MetricKind kind, Labels labels);
  Family& family(const MetricDef& def, MetricKind kind);

  std::mutex mutex_;  // Guards families_ and what is in them, not the values; hidden_.
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_;
  std::set<std::string, std::less<>> hidden_;  // Names.
  std::mutex collectors_mutex_;
  std::map<CollectorId, std::function<void()>> collectors_;
  CollectorId next_collector_ = 1;
};

}  // namespace altlas::telemetry
