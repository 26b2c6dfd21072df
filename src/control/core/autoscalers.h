// Autoscalers: how many replicas each deployment should have, by its load or because a person said
// so, and why.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "control/core/fleet.h"
#include "control/core_setup.h"
#include "control/views.h"
#include "scheduler/autoscaler.h"

namespace altlas::control {

// How many decisions are kept of a deployment: those that changed something, and the others.
inline constexpr size_t kChangesKept = 256;
inline constexpr size_t kOthersKept = 64;

// Threads: one.
class Autoscalers {
 public:
  struct Change {
    uint32_t deployment = 0;
    uint32_t replicas = 0;
    std::string reason;
  };

  Autoscalers(const CoreSetup& setup, Fleet& fleet);

  // Looks at the load, and decides where a decision is due: once in metrics_interval_s, and at once
  // where requests wait and no replica is wanted. O(deployments with autoscaling).
  std::vector<Change> decide(TimeUs now);
  // A person wants this number of replicas, until they give the number back to the autoscaler
  // (nothing). Errors: kInvalid with the number of places, or where there is no autoscaler.
  Result<std::optional<Change>> ask(uint32_t deployment, std::optional<uint32_t> replicas,
                                    TimeUs now);
  TimeUs next_deadline() const;
  // The latest ones, oldest first.
  std::vector<ScaleDecision> decisions(uint32_t deployment) const;

  // Everything that decides, as bytes (saved_part.h), and the hash of these bytes.
  std::string save() const;
  uint64_t hash() const;
  // Into a part that was just made from the same setup.  Errors: kInvalid for bytes that are not
  // this part's, of another version, or damaged; the part is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.

 private:
  struct OfDeployment {
    scheduler::LoadWindow load;
    scheduler::AutoscalerState state;
    TimeUs next = 0;  // When the next decision is due.
    std::deque<ScaleDecision> changes, others;
  };
  static auto saved(auto& self);
  void keep(OfDeployment& one, ScaleDecision decision);

  Fleet& fleet_;
  std::vector<OfDeployment> by_deployment_;
  std::vector<uint32_t> scaled_;  // Deployments with autoscaling; they follow from the setup.
};

}  // namespace altlas::control
