#include "telemetry/registry.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "telemetry/metrics.h"
#include "telemetry/text.h"

namespace altlas::telemetry {
namespace {

// Returns a small number for each thread, so that few threads share a stripe.
size_t thread_number() {
  static std::atomic<size_t> next = 0;
  thread_local const size_t number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

bool is_name(std::string_view name, bool colon) {
  const auto letter = [colon](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
  };
  return !name.empty() && letter(name[0]) &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

void check_def(const MetricDef& def) {
  ALTLAS_CHECK(is_name(def.name, true), def.name);
  for (size_t i = 0; i < def.label_count(); ++i) {
    const std::string_view label = def.labels[i];
    ALTLAS_CHECK(is_name(label, false) && !label.starts_with("__"), label);
    ALTLAS_CHECK(def.kind != MetricKind::kHistogram || label != "le", def.name);
  }
  ALTLAS_CHECK(std::ranges::is_sorted(def.buckets) && def.buckets.size() <= kBucketsMax, def.name);
  ALTLAS_CHECK((def.kind == MetricKind::kHistogram) == !def.buckets.empty(), def.name);
}

void append_escaped(std::string_view text, bool quotes, std::string& out) {
  for (const char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quotes)
      out += "\\\"";
    else
      out += c;
  }
}

constexpr std::string_view kOverflow = "_overflow";

}  // namespace

std::string_view to_string(MetricKind kind) {
  static constexpr std::string_view kNames[] = {"counter", "gauge", "histogram"};
  return kNames[static_cast<size_t>(kind)];
}

void Counter::add(double amount) {
  ALTLAS_DCHECK(amount >= 0 && std::isfinite(amount), "a counter only grows");
  stripes_[thread_number() % kStripes].value.fetch_add(amount, std::memory_order_relaxed);
}

double Counter::value() const {
  double sum = 0;
  for (const Stripe& stripe : stripes_) sum += stripe.value.load(std::memory_order_relaxed);
  return sum;
}

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds), counts_(std::make_unique<std::atomic<uint64_t>[]>(bounds.size() + 1)) {}

void Histogram::observe(double value) {
  if (std::isnan(value)) return;
  const size_t bucket =
      static_cast<size_t>(std::ranges::lower_bound(bounds_, value) - bounds_.begin());
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::snapshot() const {
  Snapshot out;
  for (size_t i = 0; i <= bounds_.size(); ++i) {
    out.counts.push_back(counts_[i].load(std::memory_order_relaxed));
    out.count += out.counts.back();
  }
  out.sum = sum_.load(std::memory_order_relaxed);
  return out;
}

double quantile(const Histogram::Snapshot& snapshot, std::span<const double> bounds, double q) {
  if (snapshot.count == 0 || bounds.empty()) return 0;
  const double rank = std::clamp(q, 0.0, 1.0) * static_cast<double>(snapshot.count);
  double below = 0;
  for (size_t i = 0; i < bounds.size(); ++i) {
    const auto inside = static_cast<double>(snapshot.counts[i]);
    if (inside > 0 && below + inside >= rank) {
      const double low = i == 0 ? std::min(0.0, bounds[0]) : bounds[i - 1];
      return low + (bounds[i] - low) * (rank - below) / inside;
    }
    below += inside;
  }
  return bounds.back();
}

// One label set of a metric; exactly one of the three members is set.
struct Registry::Series {
  std::unique_ptr<Counter> counter;
  std::unique_ptr<Gauge> gauge;
  std::unique_ptr<Histogram> histogram;

  Series(MetricKind kind, std::span<const double> buckets) {
    switch (kind) {
      case MetricKind::kCounter:
        counter = std::make_unique<Counter>();
        break;
      case MetricKind::kGauge:
        gauge = std::make_unique<Gauge>();
        break;
      case MetricKind::kHistogram:
        histogram = std::make_unique<Histogram>(buckets);
        break;
    }
  }
};

struct Registry::Family {
  MetricDef def;
  std::map<std::vector<std::string>, std::unique_ptr<Series>> series;

  // Writes "name{a="x",b="y"", without the closing brace, if there are labels or `le`.
  void write_head(std::string_view suffix, const std::vector<std::string>& values,
                  std::optional<double> le, std::string& out) const {
    out += def.name;
    out += suffix;
    bool first = true;
    const auto label = [&](std::string_view name) {
      out += first ? '{' : ',';
      first = false;
      out += name;
      out += "=\"";
    };
    for (size_t i = 0; i < values.size(); ++i) {
      label(def.labels[i]);
      append_escaped(values[i], true, out);
      out += '"';
    }
    if (le) {
      label("le");
      append_number(*le, out);
      out += '"';
    }
    out += first ? " " : "} ";
  }
  void write_line(std::string_view suffix, const std::vector<std::string>& values,
                  std::optional<double> le, double value, std::string& out) const {
    write_head(suffix, values, le, out);
    append_number(value, out);
    out += '\n';
  }
  void write_histogram(const std::vector<std::string>& values, const Histogram& histogram,
                       std::string& out) const {
    const Histogram::Snapshot snapshot = histogram.snapshot();
    uint64_t below = 0;
    for (size_t i = 0; i < snapshot.counts.size(); ++i) {
      below += snapshot.counts[i];
      const double le =
          i < def.buckets.size() ? def.buckets[i] : std::numeric_limits<double>::infinity();
      write_line("_bucket", values, le, static_cast<double>(below), out);
    }
    write_line("_sum", values, {}, snapshot.sum, out);
    write_line("_count", values, {}, static_cast<double>(snapshot.count), out);
  }
  void write(std::string& out) const {
    if (series.empty()) return;
    out += "# HELP ";
    out += def.name;
    out += ' ';
    append_escaped(def.help, false, out);
    out += "\n# TYPE ";
    out += def.name;
    out += ' ';
    out += to_string(def.kind);
    out += '\n';
    for (const auto& [values, one] : series) {
      if (one->counter) write_line("", values, {}, one->counter->value(), out);
      if (one->gauge) write_line("", values, {}, one->gauge->value(), out);
      if (one->histogram) write_histogram(values, *one->histogram, out);
    }
  }
};

Registry::Registry() = default;
Registry::~Registry() = default;

Registry::Family& Registry::family(const MetricDef& def, MetricKind kind) {
  const auto found = families_.find(def.name);
  if (found != families_.end()) {
    const MetricDef& known = found->second->def;
    ALTLAS_CHECK(known.kind == kind && known.labels == def.labels && known.help == def.help &&
                     std::ranges::equal(known.buckets, def.buckets),
                 def.name);
    return *found->second;
  }
  ALTLAS_CHECK(def.kind == kind, def.name);
  check_def(def);
  auto made = std::make_unique<Family>();
  made->def = def;
  return *families_.emplace(std::string(def.name), std::move(made)).first->second;
}

Registry::Series& Registry::series(const MetricDef& def, MetricKind kind, Labels labels) {
  ALTLAS_CHECK(labels.size() == def.label_count(), def.name);
  std::vector<std::string> values;
  for (const std::string_view label : labels)
    values.push_back(clean_utf8(label, kLabelValueBytesMax));
  const std::lock_guard lock(mutex_);
  Family& in = family(def, kind);
  auto found = in.series.find(values);
  if (found != in.series.end()) return *found->second;
  if (in.series.size() >= kSeriesMax) {
    // The overflow series and the count of dropped series come on top of the limit.
    values.assign(labels.size(), std::string(kOverflow));
    if (&def != &kSeriesDropped) {
      Family& dropped = family(kSeriesDropped, MetricKind::kCounter);
      auto& count = dropped.series[{std::string(def.name)}];
      if (!count) count = std::make_unique<Series>(MetricKind::kCounter, std::span<const double>());
      count->counter->add();
    }
    found = in.series.find(values);
    if (found != in.series.end()) return *found->second;
  }
  return *in.series.emplace(std::move(values), std::make_unique<Series>(kind, def.buckets))
              .first->second;
}

Counter* Registry::counter(const MetricDef& def, Labels labels) {
  return series(def, MetricKind::kCounter, labels).counter.get();
}
Gauge* Registry::gauge(const MetricDef& def, Labels labels) {
  return series(def, MetricKind::kGauge, labels).gauge.get();
}
Histogram* Registry::histogram(const MetricDef& def, Labels labels) {
  return series(def, MetricKind::kHistogram, labels).histogram.get();
}

void Registry::remove(const MetricDef& def, Labels labels) {
  std::vector<std::string> values;
  for (const std::string_view label : labels)
    values.push_back(clean_utf8(label, kLabelValueBytesMax));
  const std::lock_guard lock(mutex_);
  const auto found = families_.find(def.name);
  if (found != families_.end()) found->second->series.erase(values);
}

void Registry::show(const MetricDef& def, bool shown) {
  const std::lock_guard lock(mutex_);
  if (shown)
    hidden_.erase(std::string(def.name));
  else
    hidden_.emplace(def.name);
}

Registry::CollectorId Registry::add_collector(std::function<void()> collect) {
  const std::lock_guard lock(collectors_mutex_);
  collectors_[next_collector_] = std::move(collect);
  return next_collector_++;
}

void Registry::remove_collector(CollectorId id) {
  const std::lock_guard lock(collectors_mutex_);
  collectors_.erase(id);
}

std::string Registry::write_prometheus() {
  const std::lock_guard one_writer(collectors_mutex_);
  for (const auto& [id, collect] : collectors_) collect();
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, one] : families_)
    if (!hidden_.contains(name)) one->write(out);
  return out;
}

std::string metrics_markdown(std::span<const MetricDef* const> metrics) {
  std::string out = "| Metric | Kind | Labels | Unit | Meaning |\n|---|---|---|---|---|\n";
  for (const MetricDef* def : metrics) {
    std::string labels;
    for (size_t i = 0; i < def->label_count(); ++i) {
      labels += (i > 0 ? ", `" : "`") + std::string(def->labels[i]) + "`";
    }
    out += "| `" + std::string(def->name) + "` | " + std::string(to_string(def->kind)) + " | " +
           labels + " | " + std::string(def->unit) + " | " + std::string(def->help) + " |\n";
  }
  return out;
}

}  // namespace altlas::telemetry
