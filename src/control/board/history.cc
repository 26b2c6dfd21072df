#include "control/board/history.h"

#include <algorithm>
#include <cmath>

namespace altlas::control {
namespace {

void push(std::deque<Sample>& steps, Sample sample, size_t most) {
  steps.push_back(std::move(sample));
  if (steps.size() > most) steps.pop_front();
}

// Adds a value that may be missing.
void add_known(float value, float& sum, uint32_t& count) {
  if (std::isnan(value)) return;
  sum = count == 0 ? value : sum + value;
  ++count;
}

}  // namespace

void Latencies::add(const Latencies& other) {
  queue.add(other.queue);
  first_token.add(other.first_token);
  inter_token.add(other.inter_token);
  total.add(other.total);
}

void Latencies::fill(Sample& sample) const {
  sample.queue = queue.quantiles();
  sample.first_token = first_token.quantiles();
  sample.inter_token = inter_token.quantiles();
  sample.total = total.quantiles();
}

void History::add(Sample sample, const Latencies& latencies) {
  const int64_t minute = sample.at / kCoarseStepUs;
  if (steps_ > 0 && minute != minute_) close_minute(minute_ * kCoarseStepUs + kCoarseStepUs);
  minute_ = minute;
  ++steps_;
  latencies_.add(latencies);
  // The longest queue of a minute is what its waiters saw; the rest are means.
  sums_.waiting = std::max(sums_.waiting, sample.waiting);
  for (float Sample::* rate : {&Sample::running, &Sample::tokens, &Sample::completed,
                               &Sample::failed, &Sample::canceled})
    sums_.*rate += sample.*rate;
  sums_.devices.resize(sample.devices.size());
  temperatures_.resize(sample.devices.size());
  powers_.resize(sample.devices.size());
  for (size_t i = 0; i < sample.devices.size(); ++i) {
    const DeviceSample& one = sample.devices[i];
    sums_.devices[i].utilization += one.utilization;
    sums_.devices[i].memory_used += one.memory_used;
    add_known(one.temperature, sums_.devices[i].temperature, temperatures_[i]);
    add_known(one.power, sums_.devices[i].power, powers_[i]);
  }
  push(fine_, std::move(sample), kFineSteps);
}

void History::close_minute(TimeUs at) {
  Sample out = std::move(sums_);
  out.at = at;
  const auto steps = static_cast<float>(steps_);
  for (float Sample::* rate : {&Sample::running, &Sample::tokens, &Sample::completed,
                               &Sample::failed, &Sample::canceled})
    out.*rate /= steps;
  for (size_t i = 0; i < out.devices.size(); ++i) {
    out.devices[i].utilization /= steps;
    out.devices[i].memory_used /= steps;
    if (temperatures_[i] > 0) out.devices[i].temperature /= static_cast<float>(temperatures_[i]);
    if (powers_[i] > 0) out.devices[i].power /= static_cast<float>(powers_[i]);
  }
  latencies_.fill(out);
  push(coarse_, std::move(out), kCoarseSteps);
  minutes_.push_back(latencies_);
  if (minutes_.size() >= kWindowMinutes) minutes_.pop_front();
  latencies_ = Latencies();
  sums_ = Sample();
  temperatures_.clear();
  powers_.clear();
  steps_ = 0;
}

Latencies History::window() const {
  Latencies out = latencies_;
  for (const Latencies& one : minutes_) out.add(one);
  return out;
}

}  // namespace altlas::control
