// The autoscaler's decision: how many replicas a deployment should have. Pure functions of the
// load, the time and what was decided before, with the parameters, defaults and semantics of Ray
// Serve 2.60 (ray/serve/autoscaling_policy.py).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <tuple>

#include "base/clock.h"
#include "config/deployment_config.h"

namespace altlas::scheduler {

// Ray Serve's autoscaling_config, in microseconds where it has seconds.
struct AutoscalerSettings {
  uint32_t min_replicas = 1;
  uint32_t max_replicas = 1;
  std::optional<uint32_t> initial_replicas;
  double target_ongoing_requests = 2;
  int64_t upscale_delay_us = 30 * kSecond;
  int64_t downscale_delay_us = 600 * kSecond;
  // The delay from one replica to none; downscale_delay_us if absent.
  std::optional<int64_t> downscale_to_zero_delay_us;
  double upscaling_factor = 1;
  double downscaling_factor = 1;
  int64_t look_back_us = 30 * kSecond;
  int64_t interval_us = 10 * kSecond;
  Aggregation aggregation = Aggregation::kMean;

  uint32_t at_start() const { return initial_replicas.value_or(min_replicas); }
  bool operator==(const AutoscalerSettings&) const = default;
};

AutoscalerSettings autoscaler_settings(const config::AutoscalingConfig& config);

// What a decision is made of.
struct AutoscalerInput {
  double ongoing = 0;    // Requests that run or wait, condensed over the look-back period.
  uint32_t running = 0;  // Replicas that run now.
  uint32_t target = 0;   // Replicas that were asked for last.
};

struct AutoscalerDecision {
  uint32_t target = 0;  // Replicas to ask for from now on.
  int64_t desired = 0;  // What the load asks for, before delays and bounds.
  std::string reason;   // For people, with the numbers.
};

// How long the load has asked for more, or for fewer, replicas than there are.
struct AutoscalerState {
  int direction = 0;            // 1: more, -1: fewer, 0: neither.
  std::optional<TimeUs> since;  // The first decision in that direction.
};

// Errors: none; `settings` are valid (target > 0, min ≤ max). `now` never goes back.
AutoscalerDecision decide(const AutoscalerSettings& settings, const AutoscalerInput& input,
                          TimeUs now, AutoscalerState& state);

// The number of ongoing requests over the look-back period, in at most some two thousand pieces
// however often it changes: exact but for the piece in which the period begins, which counts in
// proportion.
class LoadWindow {
 public:
  // The number from `now` on. O(1) amortized; what lies before the period is forgotten.
  void set(TimeUs now, uint32_t ongoing, int64_t look_back_us);
  uint32_t ongoing() const { return ongoing_; }  // As it was set last.
  // The number condensed over [now - look_back_us, now], or since the first set() where that is
  // later: mean over time, most, or least.  O(pieces).
  double condensed(TimeUs now, int64_t look_back_us, Aggregation aggregation) const;

  struct Piece {
    TimeUs at = 0;    // Its begin; the next one's is its end.
    double area = 0;  // The number times microseconds.
    uint32_t least = 0, most = 0;
  };
  static auto saved(auto& self) { return std::tie(self.pieces_, self.counted_, self.ongoing_); }

 private:
  void pass(TimeUs now, int64_t width);

  std::deque<Piece> pieces_;  // Ascending in time.
  TimeUs counted_ = 0;        // Until when the last piece has been counted.
  uint32_t ongoing_ = 0;
};

}  // namespace altlas::scheduler
