// Runs a test body once per SIMD target of this build that this CPU has. Only tests include it.
#pragma once

#include <cstdint>
#include <hwy/targets.h>

#include <string>
#include <vector>

namespace altlas::ops {

// Restricts Highway's dispatch to one target while it lives.
class TargetScope {
 public:
  explicit TargetScope(int64_t target) { hwy::SetSupportedTargetsForTest(target); }
  ~TargetScope() { hwy::SetSupportedTargetsForTest(0); }
  TargetScope(const TargetScope&) = delete;
  TargetScope& operator=(const TargetScope&) = delete;
};

// fn(name) under each target, the portable fallback included.
template <class Fn>
void for_each_target(Fn&& fn) {
  std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  if (targets.empty() || targets.back() != HWY_EMU128) targets.push_back(HWY_EMU128);
  for (const int64_t target : targets) {
    const TargetScope scope(target);
    fn(std::string(hwy::TargetName(target)));
  }
}

}  // namespace altlas::ops
