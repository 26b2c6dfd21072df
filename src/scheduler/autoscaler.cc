#include "scheduler/autoscaler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace altlas::scheduler {
namespace {

uint32_t bounded(const AutoscalerSettings& settings, int64_t replicas) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(replicas, settings.min_replicas, settings.max_replicas));
}

// Moves by the factor's part of the way from the replicas that run to those wanted. One less where
// rounding would stick on the way down.
int64_t scaled(const AutoscalerSettings& settings, double wanted, uint32_t running) {
  const double missing = wanted - running;
  const double factor = missing > 0 ? settings.upscaling_factor : settings.downscaling_factor;
  const double part = factor * missing;
  auto out = static_cast<int64_t>(std::ceil(running + part));
  if (std::ceil(wanted) < running && out == int64_t{running}) --out;
  return out;
}

std::string seconds_text(int64_t us) {
  return fmt::format("{:g} s", static_cast<double>(us) / kSecond);
}

}  // namespace

AutoscalerSettings autoscaler_settings(const config::AutoscalingConfig& config) {
  AutoscalerSettings out;
  out.min_replicas = static_cast<uint32_t>(config.min_replicas);
  out.max_replicas = static_cast<uint32_t>(config.max_replicas);
  if (config.initial_replicas)
    out.initial_replicas = static_cast<uint32_t>(*config.initial_replicas);
  out.target_ongoing_requests = config.target_ongoing_requests;
  out.upscale_delay_us = from_seconds(config.upscale_delay_s);
  out.downscale_delay_us = from_seconds(config.downscale_delay_s);
  if (config.downscale_to_zero_delay_s)
    out.downscale_to_zero_delay_us = from_seconds(*config.downscale_to_zero_delay_s);
  out.upscaling_factor = config.upscaling_factor;
  out.downscaling_factor = config.downscaling_factor;
  out.look_back_us = from_seconds(config.look_back_period_s);
  out.interval_us = from_seconds(config.metrics_interval_s);
  out.aggregation = config.aggregation_function;
  return out;
}

AutoscalerDecision decide(const AutoscalerSettings& settings, const AutoscalerInput& input,
                          TimeUs now, AutoscalerState& state) {
  AutoscalerDecision out{input.target, input.target, ""};
  const auto is = [&](int64_t target, std::string reason) {
    out.target = bounded(settings, target);
    if (out.target != target && target > settings.max_replicas)
      reason += fmt::format("; max_replicas is {}", settings.max_replicas);
    if (out.target != target && target < settings.min_replicas)
      reason += fmt::format("; min_replicas is {}", settings.min_replicas);
    out.reason = std::move(reason);
    return out;
  };
  if (input.running == 0 && input.ongoing > 0) {
    out.desired =
        std::max<int64_t>(static_cast<int64_t>(std::ceil(settings.upscaling_factor)), input.target);
    return is(out.desired,
              fmt::format("no replica runs and {:g} requests wait: at once", input.ongoing));
  }
  if (input.running == 0 && input.target > 0)
    return is(input.target, "the first replicas are being started");
  double wanted = 0;
  if (input.running > 0) {
    // In this order of operations: the same roundings as Ray's.
    const double ratio = input.ongoing / (settings.target_ongoing_requests * input.running);
    wanted = input.running * ratio;
  }
  out.desired = std::max<int64_t>(0, scaled(settings, wanted, input.running));
  const int direction = out.desired > input.target ? 1 : out.desired < input.target ? -1 : 0;
  const std::string load = fmt::format(
      "{:g} ongoing requests on {} running replicas, {:g} each is the target: {} replicas",
      input.ongoing, input.running, settings.target_ongoing_requests, out.desired);
  if (direction != state.direction || direction == 0) state.since.reset();
  state.direction = direction;
  if (direction == 0) return is(input.target, load);
  if (!state.since) state.since = now;
  int64_t delay = settings.upscale_delay_us;
  if (direction < 0) {
    delay = settings.downscale_delay_us;
    if (input.target == 1)
      delay = settings.downscale_to_zero_delay_us.value_or(delay);
    else
      out.desired = std::max<int64_t>(1, out.desired);  // Only the last one leaves none.
  }
  if (now - *state.since < delay)
    return is(input.target, fmt::format("{}; asked for {} of {}", load,
                                        seconds_text(now - *state.since), seconds_text(delay)));
  state = {};
  return is(out.desired, load);
}

// ---- LoadWindow ----

namespace {
constexpr int64_t kPieces = 1000;  // The look-back period's, at least.
}  // namespace

// Counts the time up to `now` into the last piece while that is not wider than it may be, and
// beyond into one more.
void LoadWindow::pass(TimeUs now, int64_t width) {
  if (now <= counted_) return;
  const auto count = [&](Piece& piece, TimeUs until) {
    piece.area += static_cast<double>(until - counted_) * ongoing_;
    piece.least = std::min(piece.least, ongoing_);
    piece.most = std::max(piece.most, ongoing_);
    counted_ = until;
  };
  if (const TimeUs end = pieces_.back().at + width; counted_ < end)
    count(pieces_.back(), std::min(now, end));
  if (now > counted_) count(pieces_.emplace_back(Piece{counted_, 0, ongoing_, ongoing_}), now);
}

void LoadWindow::set(TimeUs now, uint32_t ongoing, int64_t look_back_us) {
  if (pieces_.empty()) {
    pieces_.push_back({now, 0, ongoing, ongoing});
    counted_ = now;
  }
  if (ongoing == ongoing_) return;
  pass(now, std::max<int64_t>(1, look_back_us / kPieces));
  while (pieces_.size() > 1 && pieces_[1].at <= now - look_back_us) pieces_.pop_front();
  ongoing_ = ongoing;
}

double LoadWindow::condensed(TimeUs now, int64_t look_back_us, Aggregation aggregation) const {
  if (pieces_.empty()) return 0;
  const TimeUs begin = std::max(now - look_back_us, pieces_.front().at);
  double area = static_cast<double>(now - std::max(counted_, begin)) * ongoing_;
  uint32_t least = ongoing_, most = ongoing_;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    const TimeUs end = i + 1 < pieces_.size() ? pieces_[i + 1].at : counted_;
    if (end <= begin || end == piece.at) continue;
    const auto inside = static_cast<double>(end - std::max(begin, piece.at));
    area += piece.area * inside / static_cast<double>(end - piece.at);
    least = std::min(least, piece.least);
    most = std::max(most, piece.most);
  }
  if (aggregation == Aggregation::kMin) return least;
  if (aggregation == Aggregation::kMax) return most;
  return now > begin ? area / static_cast<double>(now - begin) : ongoing_;
}

}  // namespace altlas::scheduler
