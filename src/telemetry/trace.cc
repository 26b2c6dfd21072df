#include "telemetry/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>
#include <tuple>

#include "base/check.h"
#include "base/integers.h"
#include "telemetry/text.h"

namespace altlas::telemetry {
namespace {

size_t stripe_of_thread() {
  static std::atomic<size_t> next = 0;
  thread_local const size_t number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

void append_quoted(std::string_view text, std::string& out) {
  out += '"';
  append_json_escaped(clean_utf8(text, 4096), out);
  out += '"';
}

void append_name(std::string_view kind, Track track, std::string_view name, std::string& out) {
  fmt::format_to(std::back_inserter(out),
                 R"({{"name":"{}","ph":"M","pid":{},"tid":{},"args":{{"name":)", kind, track.group,
                 track.lane);
  append_quoted(name, out);
  out += "}},\n";
}

}  // namespace

struct Tracer::Stored {
  std::array<char, kSpanNameBytesMax + 1> name;
  const char* category;
  TimeUs start;
  TimeUs end;
  Track track;
  std::array<SpanArg, kSpanArgsMax> args;
};

struct alignas(64) Tracer::Stripe {
  std::mutex mutex;
  std::vector<Stored> ring;  // It grows to the capacity; then `next` goes round.
  size_t next = 0;
};

Tracer::Tracer(size_t spans_max)
    : capacity_(ceil_div(spans_max, kStripes)), stripes_(new Stripe[kStripes]) {
  for (size_t i = 0; i < kStripes; ++i) stripes_[i].ring.reserve(capacity_);
  set_enabled(true);
}
Tracer::~Tracer() = default;

void Tracer::record(const Span& span) {
  if (!enabled()) return;
  ALTLAS_DCHECK(span.end >= span.start && span.category != nullptr, "a span ends after it starts");
  Stored stored{.name = {},
                .category = span.category,
                .start = span.start,
                .end = std::max(span.start, span.end),
                .track = span.track,
                .args = span.args};
  std::memcpy(stored.name.data(), span.name.data(), std::min(span.name.size(), kSpanNameBytesMax));
  Stripe& stripe = stripes_[stripe_of_thread() % kStripes];
  const std::lock_guard lock(stripe.mutex);
  if (stripe.ring.size() < capacity_) {
    stripe.ring.push_back(stored);
    return;
  }
  stripe.ring[stripe.next] = stored;
  stripe.next = (stripe.next + 1) % capacity_;
  overwritten_.fetch_add(1, std::memory_order_relaxed);
}

void Tracer::record_beside(Span span, std::string_view name) {
  if (!enabled()) return;
  {
    const std::lock_guard lock(lanes_mutex_);
    std::vector<TimeUs>& free_from = lanes_[span.track.group];
    uint32_t lane = 0;
    while (lane < free_from.size() && lane + 1 < kLanesMax && free_from[lane] > span.start) ++lane;
    if (lane == free_from.size()) free_from.push_back(0);
    free_from[lane] = std::max(free_from[lane], span.end);
    span.track.lane = lane;
  }
  name_track(span.track, name, name);
  record(span);
}

void Tracer::name_track(Track track, std::string_view group_name, std::string_view lane_name) {
  const std::lock_guard lock(names_mutex_);
  if (names_.size() >= kTracksMax && !names_.contains(track)) return;
  names_[track] = {clean_utf8(group_name, 128), clean_utf8(lane_name, 128)};
}

std::vector<Tracer::Stored> Tracer::collect(TimeUs since, TimeUs until) const {
  std::vector<Stored> out;
  for (size_t i = 0; i < kStripes; ++i) {
    const std::lock_guard lock(stripes_[i].mutex);
    for (const Stored& span : stripes_[i].ring) {
      if (span.end >= since && span.start <= until) out.push_back(span);
    }
  }
  // Outer spans come before inner ones. The rest of the key makes the order the same in every run.
  std::ranges::sort(out, {}, [](const Stored& span) {
    return std::tuple(span.start, -span.end, span.track, std::string_view(span.name.data()));
  });
  return out;
}

std::string Tracer::write_chrome_trace(TimeUs since, TimeUs until) const {
  const std::vector<Stored> spans = collect(since, until);
  std::string out = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  {
    const std::lock_guard lock(names_mutex_);
    std::set<uint32_t> groups;
    for (const auto& [track, names] : names_) {
      if (groups.insert(track.group).second) append_name("process_name", track, names.first, out);
      append_name("thread_name", track, names.second, out);
    }
  }
  for (const Stored& span : spans) {
    out += "{\"name\":";
    append_quoted(span.name.data(), out);
    out += ",\"cat\":";
    append_quoted(span.category, out);
    fmt::format_to(std::back_inserter(out),
                   R"(,"ph":"X","ts":{},"dur":{},"pid":{},"tid":{},"args":{{)", span.start,
                   span.end - span.start, span.track.group, span.track.lane);
    bool first = true;
    for (const SpanArg& arg : span.args) {
      if (arg.key == nullptr) break;
      if (!first) out += ',';
      first = false;
      append_quoted(arg.key, out);
      fmt::format_to(std::back_inserter(out), ":{}", arg.value);
    }
    out += "}},\n";
  }
  if (out.ends_with(",\n")) out.resize(out.size() - 2);
  return out + "\n]}\n";
}

}  // namespace altlas::telemetry
