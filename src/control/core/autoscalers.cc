#include "control/core/autoscalers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "control/core/saved_part.h"

namespace altlas::control {

Autoscalers::Autoscalers(const CoreSetup& setup, Fleet& fleet)
    : fleet_(fleet), by_deployment_(setup.deployments.size()) {
  for (uint32_t i = 0; i < setup.deployments.size(); ++i)
    if (setup.deployments[i].autoscaling) scaled_.push_back(i);
}

std::vector<Autoscalers::Change> Autoscalers::decide(TimeUs now) {
  std::vector<Change> out;
  for (const uint32_t index : scaled_) {
    const Deployment& deployment = fleet_.deployment(index);
    const scheduler::AutoscalerSettings& settings = *deployment.setup.autoscaling;
    OfDeployment& one = by_deployment_[index];
    const uint32_t ongoing = deployment.running + deployment.queued;
    one.load.set(now, ongoing, settings.look_back_us);
    const bool asleep = deployment.target == 0 && ongoing > 0;
    if (deployment.held || (now < one.next && !asleep)) continue;
    one.next = now + settings.interval_us;
    // A first request is not spread over the look-back period.
    const double load =
        asleep ? ongoing : one.load.condensed(now, settings.look_back_us, settings.aggregation);
    const scheduler::AutoscalerInput input{
        .ongoing = load, .running = deployment.running_slots, .target = deployment.target};
    scheduler::AutoscalerDecision decision = scheduler::decide(settings, input, now, one.state);
    if (decision.target != input.target) out.push_back({index, decision.target, decision.reason});
    keep(one, {.at = now,
               .from = input.target,
               .to = decision.target,
               .ongoing = load,
               .running = input.running,
               .desired = decision.desired,
               .reason = std::move(decision.reason)});
  }
  return out;
}

Result<std::optional<Autoscalers::Change>> Autoscalers::ask(uint32_t index,
                                                            std::optional<uint32_t> replicas,
                                                            TimeUs now) {
  const Deployment& deployment = fleet_.deployment(index);
  const std::string& name = deployment.setup.name;
  if (!replicas && !deployment.setup.autoscaling)
    return invalid(fmt::format("deployment '{}' has no autoscaling_config: say a number", name),
                   "replicas");
  if (replicas.value_or(0) > deployment.slots.size())
    return invalid(fmt::format("deployment '{}' has places for {} replicas{}, not {}", name,
                               deployment.slots.size(),
                               deployment.setup.autoscaling ? " (max_replicas)" : " (num_replicas)",
                               *replicas),
                   "replicas");
  fleet_.hold(index, replicas.has_value());
  OfDeployment& one = by_deployment_[index];
  one.state = {};
  one.next = now;  // The autoscaler has its turn again at once, where it has one.
  const uint32_t target = replicas.value_or(deployment.target);
  keep(one, {.at = now,
             .from = deployment.target,
             .to = target,
             .ongoing = static_cast<double>(deployment.running + deployment.queued),
             .running = deployment.running_slots,
             .desired = target,
             .reason = replicas ? fmt::format("a person asked for {}", target)
                                : "a person gave the number to the autoscaler"});
  if (target == deployment.target) return std::optional<Change>();
  return std::optional(Change{index, target, one.changes.back().reason});
}

void Autoscalers::keep(OfDeployment& one, ScaleDecision decision) {
  const bool changes = decision.to != decision.from;
  std::deque<ScaleDecision>& kept = changes ? one.changes : one.others;
  kept.push_back(std::move(decision));
  if (kept.size() > (changes ? kChangesKept : kOthersKept)) kept.pop_front();
}

TimeUs Autoscalers::next_deadline() const {
  TimeUs next = INT64_MAX;
  for (const uint32_t index : scaled_)
    if (!fleet_.deployment(index).held) next = std::min(next, by_deployment_[index].next);
  return next;
}

std::vector<ScaleDecision> Autoscalers::decisions(uint32_t deployment) const {
  const OfDeployment& one = by_deployment_[deployment];
  std::vector<ScaleDecision> out(one.changes.begin(), one.changes.end());
  out.insert(out.end(), one.others.begin(), one.others.end());
  std::ranges::stable_sort(out, {}, &ScaleDecision::at);
  return out;
}

auto Autoscalers::saved(auto& self) { return std::tie(self.by_deployment_); }

std::string Autoscalers::save() const { return save_part("autoscalers", 1, saved(*this)); }

uint64_t Autoscalers::hash() const { return hash_of_saved(save()); }

Result<void> Autoscalers::load(std::string_view bytes) {
  const size_t count = by_deployment_.size();
  ALTLAS_TRY_VOID(load_part("autoscalers", 1, bytes, saved(*this)));
  if (by_deployment_.size() != count) return invalid("the saved autoscalers are of another setup");
  return {};
}

void Autoscalers::check_integrity() const {
  for (uint32_t i = 0; i < by_deployment_.size(); ++i)
    ALTLAS_CHECK(by_deployment_[i].changes.size() <= kChangesKept &&
                     by_deployment_[i].others.size() <= kOthersKept,
                 "kept decisions are bounded");
}

}  // namespace altlas::control
