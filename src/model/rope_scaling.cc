#include "model/rope_scaling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace altlas::model {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

void stretch_llama3(const RopeScaling& s, std::vector<double>& frequency) {
  const double low = s.original_context / s.low_frequency_factor,
               high = s.original_context / s.high_frequency_factor;
  for (double& f : frequency) {
    const double wavelength = kTurn / f;
    if (wavelength > low) {
      f /= s.factor;
    } else if (wavelength >= high) {
      const double keep = (s.original_context / wavelength - s.low_frequency_factor) /
                          (s.high_frequency_factor - s.low_frequency_factor);
      f = (1 - keep) * f / s.factor + keep * f;
    }
  }
}

void stretch_yarn(const RopeScaling& s, double base, std::vector<double>& frequency) {
  const auto dims = static_cast<double>(2 * frequency.size());
  // Returns the dimension whose wave turns this often within the original context.
  const auto dimension = [&](double turns) {
    return dims * std::log(s.original_context / (turns * kTurn)) / (2 * std::log(base));
  };
  double low = dimension(s.beta_fast), high = dimension(s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequency.size(); ++i) {
    const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequency[i] = frequency[i] / s.factor * stretched + frequency[i] * (1 - stretched);
  }
}

Result<void> check(double base, const RopeScaling& s) {
  const auto within = [](double value, double min, double max) {
    return value >= min && value <= max;  // The answer for NaN is false.
  };
  if (!within(base, 1, kRopeBaseMax))
    return invalid(
        fmt::format("the rope base is {}: from 1 to {} is supported", base, kRopeBaseMax));
  if (s.kind == RopeScalingKind::kNone) return {};
  if (!within(s.factor, 1e-3, kRopeFactorMax))
    return invalid(fmt::format("the rope scaling factor is {}: from 0.001 to {} is supported",
                               s.factor, kRopeFactorMax));
  if (s.kind == RopeScalingKind::kLinear) return {};
  if (!within(s.original_context, 1, 1 << 27))
    return invalid(fmt::format("rope scaling's original context is {}: from 1 to {} is supported",
                               s.original_context, 1 << 27));
  if (s.kind == RopeScalingKind::kYarn) {
    if (base == 1 || !within(s.beta_fast, 1e-3, 1e6) || !within(s.beta_slow, 1e-3, 1e6) ||
        !within(s.attention_factor, 0, 1e3))
      return invalid(
          "yarn rope scaling wants a base above 1, beta_fast and beta_slow from 0.001 to 1e6, and "
          "an attention factor up to 1000");
    return {};
  }
  if (!within(s.low_frequency_factor, 1e-3, 1e6) || !within(s.high_frequency_factor, 1e-3, 1e6) ||
      s.low_frequency_factor >= s.high_frequency_factor)
    return invalid(fmt::format(
        "llama3 rope scaling's low and high frequency factors are {} and {}: two ascending numbers "
        "from 0.001 to 1e6 are supported",
        s.low_frequency_factor, s.high_frequency_factor));
  return {};
}

}  // namespace

Result<RopeTable> rope_table(double base, uint32_t dims, const RopeScaling& scaling) {
  ALTLAS_TRY_VOID(check(base, scaling));
  RopeTable out;
  out.frequency.resize(dims / 2);
  for (size_t i = 0; i < out.frequency.size(); ++i)
    out.frequency[i] = std::pow(base, -2.0 * static_cast<double>(i) / dims);
  switch (scaling.kind) {
    case RopeScalingKind::kNone:
      break;
    case RopeScalingKind::kLinear:
      for (double& f : out.frequency) f /= scaling.factor;
      break;
    case RopeScalingKind::kYarn:
      stretch_yarn(scaling, base, out.frequency);
      out.scale = static_cast<float>(scaling.attention_factor > 0 ? scaling.attention_factor
                                     : scaling.factor > 1 ? 0.1 * std::log(scaling.factor) + 1
                                                          : 1);
      break;
    case RopeScalingKind::kLlama3:
      stretch_llama3(scaling, out.frequency);
      break;
  }
  return out;
}

}  // namespace altlas::model
