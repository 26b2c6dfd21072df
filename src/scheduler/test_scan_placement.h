// ScanPlacement: the choice by looking at every device, as the reference that
// placement_index_test.cc compares with.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "scheduler/placement.h"

namespace altlas::scheduler::testing_support {

inline uint64_t free_bytes(const PlacementDevice& d) {
  return d.memory_total - std::min(d.memory_total, d.memory_used);
}

struct Candidate {
  const PlacementDevice* device = nullptr;
  Standing standing = Standing::kEligible;
};
using Candidates = std::vector<Candidate>;
// True where `a` is to be preferred to `b`; a strict order (ends with the id).
using Better = std::function<bool(const PlacementDevice& a, const PlacementDevice& b)>;

inline uint32_t load(const PlacementDevice& d) { return d.running + d.queued; }

inline bool less_loaded(const PlacementDevice& a, const PlacementDevice& b) {
  if (load(a) != load(b)) return load(a) < load(b);
  if (a.utilization != b.utilization) return a.utilization < b.utilization;
  return a.id < b.id;
}

inline bool more_memory(const PlacementDevice& a, const PlacementDevice& b) {
  // The estimate is the same for both, so most free after it is most free before it.
  if (free_bytes(a) != free_bytes(b)) return free_bytes(a) > free_bytes(b);
  return less_loaded(a, b);
}

// Predicted seconds until a task given to the device now would be through; the unknown rate is one
// for all.
inline double finish_seconds(const PlacementDevice& d, const PlacementRequest& r) {
  const double rate = d.tokens_per_second > 0 ? d.tokens_per_second : 1;
  return (static_cast<double>(d.tokens_ahead) + r.sequence_tokens) / rate;
}

// The best and the second of `candidates`, by standing first.
inline void pick(const Candidates& candidates, const Better& better, Placement& out) {
  const Candidate* best = nullptr;
  const Candidate* second = nullptr;
  const auto before = [&](const Candidate& a, const Candidate& b) {
    if (a.standing != b.standing) return a.standing < b.standing;
    return better(*a.device, *b.device);
  };
  for (const Candidate& candidate : candidates) {
    if (best == nullptr || before(candidate, *best)) {
      second = best;
      best = &candidate;
    } else if (second == nullptr || before(candidate, *second)) {
      second = &candidate;
    }
  }
  out.winner = best->device->id;
  out.standing = best->standing;
  if (second != nullptr) out.runner_up = second->device->id;
}

inline void least_loaded(const Candidates& candidates, Placement& out) {
  pick(candidates, less_loaded, out);
}

inline void memory_optimized(const Candidates& candidates, const PlacementRequest&,
                             Placement& out) {
  pick(candidates, more_memory, out);
}

// The standing that a turn-taking strategy works in: a device that is only busy keeps its turn (the
// task queues there), one that is hot, down or unhealthy is passed over while another is not.
inline Candidates in_turn(const Candidates& candidates) {
  Standing best = Standing::kNever;
  for (const Candidate& c : candidates) best = std::min(best, c.standing);
  const Standing upto = std::max(best, Standing::kBusy);
  Candidates out;
  for (const Candidate& c : candidates)
    if (c.standing <= upto) out.push_back(c);
  return out;
}

inline void round_robin(const Candidates& all, PlacementCursor& cursor, Placement& out) {
  const Candidates candidates = in_turn(all);  // By id, as `all` is.
  size_t index = 0;
  if (cursor.last)
    while (index < candidates.size() && candidates[index].device->id <= *cursor.last) ++index;
  index %= candidates.size();
  const Candidate& winner = candidates[index];
  out.winner = winner.device->id;
  out.standing = winner.standing;
  if (candidates.size() > 1) out.runner_up = candidates[(index + 1) % candidates.size()].device->id;
  cursor.last = out.winner;
}

inline void random_choice(const Candidates& all, PlacementCursor& cursor, Placement& out) {
  Standing best = Standing::kNever;
  for (const Candidate& c : all) best = std::min(best, c.standing);
  Candidates candidates;
  for (const Candidate& c : all)
    if (c.standing == best) candidates.push_back(c);
  const size_t index = cursor.random.below(candidates.size());
  out.winner = candidates[index].device->id;
  out.standing = best;
  if (candidates.size() > 1) out.runner_up = candidates[(index + 1) % candidates.size()].device->id;
}

// Longest cached prefix among devices whose load is at most 1.25 times the mean, plus one (bounded
// load, as consistent hashing with bounded loads has it: arXiv:1608.01350).
inline void prefix_affinity(const Candidates& candidates, Placement& out) {
  double sum = 0;
  for (const Candidate& c : candidates) sum += load(*c.device);
  const double bound = 1.25 * sum / static_cast<double>(candidates.size()) + 1;
  const auto within = [&](const PlacementDevice& d) { return load(d) <= bound; };
  pick(
      candidates,
      [&](const PlacementDevice& a, const PlacementDevice& b) {
        if (within(a) != within(b)) return within(a);
        if (a.cached_prefix_tokens != b.cached_prefix_tokens)
          return a.cached_prefix_tokens > b.cached_prefix_tokens;
        return less_loaded(a, b);
      },
      out);
}

inline void earliest_finish(const Candidates& candidates, const PlacementRequest& request,
                            Placement& out) {
  pick(
      candidates,
      [&](const PlacementDevice& a, const PlacementDevice& b) {
        const double fa = finish_seconds(a, request), fb = finish_seconds(b, request);
        return fa != fb ? fa < fb : less_loaded(a, b);
      },
      out);
}

// The mapped devices that could run the task; empty, with a note, where least_loaded must stand in.
inline Candidates mapped(const PlacementPolicy& policy, const Candidates& candidates,
                         const PlacementRequest& request, std::string& note) {
  const auto found = policy.task_specific.find(request.type);
  if (found == policy.task_specific.end()) {
    note = "none";
    return {};
  }
  Candidates out;
  for (const Candidate& c : candidates)
    if (std::ranges::find(found->second, c.device->id) != found->second.end() &&
        c.standing < Standing::kDown)
      out.push_back(c);
  if (out.empty()) note = "none";
  return out;
}

inline void run_strategy(const PlacementPolicy& policy, const Candidates& candidates,
                         const PlacementRequest& request, PlacementCursor& cursor, Placement& out) {
  out.strategy = request.strategy;
  switch (request.strategy) {
    case Strategy::kRoundRobin:
      return round_robin(candidates, cursor, out);
    case Strategy::kLeastLoaded:
      return least_loaded(candidates, out);
    case Strategy::kMemoryOptimized:
      return memory_optimized(candidates, request, out);
    case Strategy::kRandom:
      return random_choice(candidates, cursor, out);
    case Strategy::kPrefixAffinity:
      return prefix_affinity(candidates, out);
    case Strategy::kEarliestFinish:
      return earliest_finish(candidates, request, out);
    case Strategy::kTaskSpecific:
      break;
  }
  const Candidates own = mapped(policy, candidates, request, out.note);
  if (own.empty()) out.strategy = Strategy::kLeastLoaded;
  least_loaded(own.empty() ? candidates : own, out);
  if (!own.empty()) out.reason = fmt::format("mapped for type '{}'; {}", request.type, out.reason);
}

inline Result<Placement> scan(const PlacementPolicy& policy,
                              std::span<const PlacementDevice> devices,
                              const PlacementRequest& request, PlacementCursor& cursor) {
  if (devices.empty()) return unavailable("no device runs this deployment");
  Placement out;
  std::vector<Assessment> assessments;
  Candidates candidates;
  bool known = !request.specific_device.has_value();
  for (const PlacementDevice& device : devices) {
    const bool asked = !request.specific_device || *request.specific_device == device.id;
    known |= asked;
    if (!asked) continue;
    Assessment assessment = assess(policy, device, request);
    if (assessment.standing != Standing::kNever)
      candidates.push_back({&device, assessment.standing});
    if (assessment.standing != Standing::kEligible) assessments.push_back(std::move(assessment));
  }
  if (!known)
    return invalid(fmt::format("device {} does not run this deployment; the devices that do: {}",
                               request.specific_device->value, std::string("…")),
                   "gpu_options.specific_gpu_id");
  if (candidates.empty()) {
    if (!request.specific_device) return invalid("no device is large enough");
    return invalid(fmt::format("device {} is too small: {}", request.specific_device->value,
                               assessments.front().reason),
                   "gpu_options.specific_gpu_id");
  }
  if (request.specific_device) {
    out.strategy = request.strategy;
    out.winner = *request.specific_device;
    out.standing = candidates.front().standing;
    out.reason = "asked for by specific_gpu_id";
  } else {
    run_strategy(policy, candidates, request, cursor, out);
  }
  out.rejected = std::move(assessments);
  return out;
}

}  // namespace altlas::scheduler::testing_support
