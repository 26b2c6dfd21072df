// Spans of time in a bounded ring, and their Chrome trace.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace altlas::telemetry {

inline constexpr size_t kSpanNameBytesMax = 47;  // Longer names are cut.
inline constexpr size_t kSpanArgsMax = 3;
inline constexpr uint32_t kLanesMax = 64;   // The limit of record_beside(), in one group.
inline constexpr size_t kTracksMax = 4096;  // Named tracks; further names are not kept.

// A row of the picture: lanes (threads, devices) inside a group (process, replica).
struct Track {
  uint32_t group = 0;
  uint32_t lane = 0;
  auto operator<=>(const Track&) const = default;
};

struct SpanArg {
  const char* key = nullptr;  // A string of static lifetime; nullptr is no argument.
  int64_t value = 0;
};

struct Span {
  std::string_view name;      // Copied.
  const char* category = "";  // A string of static lifetime, such as "engine".
  TimeUs start = 0;
  TimeUs end = 0;  // Not before start.
  Track track;
  std::array<SpanArg, kSpanArgsMax> args = {};
};

// Keeps the latest spans. Any thread; a span costs one short uncontended lock and no allocation.
// Times come from the caller, so a simulated run gives the same trace every time.
class Tracer {
 public:
  // Room for `spans_max` spans (shared evenly by the threads' stripes); 0 keeps none.
  explicit Tracer(size_t spans_max);
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // On from the start if there is room. While off, record() returns at once and what was kept
  // stays.
  void set_enabled(bool enabled) {
    enabled_.store(enabled && capacity_ > 0, std::memory_order_relaxed);
  }
  bool enabled() const { return enabled_.load(std::memory_order_relaxed); }

  void record(const Span& span);
  // The same in the first lane of its track's group where it lies over no other span; beyond
  // kLanesMax they share the last one. `name`: the picture's for the group. Spans of a group come
  // in the order of their ends, more or less.
  void record_beside(Span span, std::string_view name);
  // Names that the picture shows for a track.
  void name_track(Track track, std::string_view group_name, std::string_view lane_name);

  // Spans replaced by newer ones since the start.
  uint64_t overwritten() const { return overwritten_.load(std::memory_order_relaxed); }
  // JSON in Chrome's trace event format (chrome://tracing, Perfetto) of the spans that touch
  // [since, until], by start.
  std::string write_chrome_trace(TimeUs since, TimeUs until) const;

 private:
  struct Stored;
  struct Stripe;
  static constexpr size_t kStripes = 8;

  std::vector<Stored> collect(TimeUs since, TimeUs until) const;

  size_t capacity_ = 0;  // The capacity of one stripe.
  std::atomic<bool> enabled_ = false;
  std::atomic<uint64_t> overwritten_ = 0;
  std::unique_ptr<Stripe[]> stripes_;
  mutable std::mutex names_mutex_;
  std::map<Track, std::pair<std::string, std::string>> names_;
  std::mutex lanes_mutex_;
  std::map<uint32_t, std::vector<TimeUs>> lanes_;  // For a group: from when on each is free.
};

// Records the time from here to the end of the block, if the tracer is there and on.
class ScopedSpan {
 public:
  ScopedSpan(Tracer* tracer, const Clock& clock, std::string_view name, const char* category,
             Track track)
      : tracer_(tracer != nullptr && tracer->enabled() ? tracer : nullptr), clock_(clock) {
    if (tracer_ != nullptr)
      span_ = {.name = name, .category = category, .start = clock.now(), .track = track};
  }
  ~ScopedSpan() {
    if (tracer_ == nullptr) return;
    span_.end = clock_.now();
    tracer_->record(span_);
  }
  ScopedSpan(const ScopedSpan&) = delete;
  ScopedSpan& operator=(const ScopedSpan&) = delete;

  // The next free argument; those beyond kSpanArgsMax are left out. `key` has static lifetime.
  void arg(const char* key, int64_t value) {
    for (SpanArg& arg : span_.args) {
      if (arg.key != nullptr) continue;
      arg = {key, value};
      return;
    }
  }

 private:
  Tracer* tracer_;
  const Clock& clock_;
  Span span_;  // Its name must outlive the block.
};

}  // namespace altlas::telemetry
