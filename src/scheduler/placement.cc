#include "scheduler/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/check.h"

namespace altlas::scheduler {
namespace {

uint32_t blocks_for(uint32_t tokens, uint32_t block_tokens) {
  return block_tokens == 0 ? 0 : (tokens + block_tokens - 1) / block_tokens;
}

uint64_t memory_free(const PlacementDevice& device) {
  return device.memory_total - std::min(device.memory_total, device.memory_used);
}

// Never: what no waiting would change.
std::string too_small(const PlacementDevice& d, const PlacementRequest& r) {
  if (r.estimated_memory > d.memory_total)
    return fmt::format("memory: needs {} bytes, the device has {}", r.estimated_memory,
                       d.memory_total);
  if (d.model_len_max > 0 && r.sequence_tokens > d.model_len_max)
    return fmt::format("length: prompt and max_length make {} tokens, max_model_len is {}",
                       r.sequence_tokens, d.model_len_max);
  const uint64_t pool = uint64_t{d.kv_blocks_total} * d.block_tokens;
  if (pool > 0 && r.sequence_tokens > pool)
    return fmt::format("kv: prompt and max_length make {} tokens, the KV pool holds {}",
                       r.sequence_tokens, pool);
  return "";
}

// What the sequence takes at its longest.
uint64_t kv_bytes(const PlacementDevice& d, const PlacementRequest& r) {
  return blocks_for(r.sequence_tokens, d.block_tokens) * d.block_bytes;
}

// Crowded: what no task's end would change, only that of a replica.
std::string too_small_beside_weights(const PlacementDevice& d, const PlacementRequest& r) {
  const uint64_t free = d.memory_total - std::min(d.memory_total, d.memory_fixed);
  if (r.estimated_memory == 0 || r.estimated_memory + kv_bytes(d, r) <= free) return "";
  return fmt::format(
      "memory: needs {} bytes and {} of KV blocks; beside weights and activations "
      "the device has {}",
      r.estimated_memory, kv_bytes(d, r), free);
}

// A reservation is a promise: KV blocks may not grow into it.
std::string no_room_beside_reservations(const PlacementDevice& d, const PlacementRequest& r) {
  if (r.estimated_memory == 0 && d.memory_reserved == 0) return "";
  const uint64_t free = memory_free(d) - std::min(memory_free(d), d.memory_growth);
  if (r.estimated_memory + kv_bytes(d, r) <= free) return "";
  return fmt::format(
      "memory: needs {} bytes and {} of KV blocks, {} free beside {} reserved and "
      "{} that running tasks may grow by",
      r.estimated_memory, kv_bytes(d, r), free, d.memory_reserved, d.memory_growth);
}

// Busy: what passes as other tasks end.
std::string too_full(const PlacementPolicy& policy, const PlacementDevice& d,
                     const PlacementRequest& r) {
  if (d.tasks_max > 0 && d.tasks >= d.tasks_max)
    return fmt::format("tasks: {} of at most {}", d.tasks, d.tasks_max);
  if (static_cast<double>(d.memory_used) >
      policy.memory_threshold * static_cast<double>(d.memory_total))
    return fmt::format("memory: {} of {} bytes used, memory_threshold is {}", d.memory_used,
                       d.memory_total, policy.memory_threshold);
  if (r.estimated_memory > memory_free(d))
    return fmt::format("memory: needs {} bytes, {} free", r.estimated_memory, memory_free(d));
  if (std::string reason = no_room_beside_reservations(d, r); !reason.empty()) return reason;
  const uint32_t need = blocks_for(r.prompt_tokens, d.block_tokens);
  if (need > d.kv_blocks_free && d.kv_blocks_total > 0)
    return fmt::format("kv: needs {} blocks, {} free", need, d.kv_blocks_free);
  return "";
}

struct Candidate {
  const PlacementDevice* device = nullptr;
  Standing standing = Standing::kEligible;
};
using Candidates = std::vector<Candidate>;
// True where `a` is to be preferred to `b`; a strict order (ends with the id).
using Better = std::function<bool(const PlacementDevice& a, const PlacementDevice& b)>;

uint32_t load(const PlacementDevice& d) { return d.running + d.queued; }

bool less_loaded(const PlacementDevice& a, const PlacementDevice& b) {
  if (load(a) != load(b)) return load(a) < load(b);
  if (a.utilization != b.utilization) return a.utilization < b.utilization;
  return a.id < b.id;
}

bool more_memory(const PlacementDevice& a, const PlacementDevice& b) {
  // The estimate is the same for both, so most free after it is most free before it.
  if (memory_free(a) != memory_free(b)) return memory_free(a) > memory_free(b);
  return less_loaded(a, b);
}

// Predicted seconds until a task given to the device now would be through; the unknown rate is one
// for all.
double finish_seconds(const PlacementDevice& d, const PlacementRequest& r) {
  const double rate = d.tokens_per_second > 0 ? d.tokens_per_second : 1;
  return (static_cast<double>(d.tokens_ahead) + r.sequence_tokens) / rate;
}

// The best and the second of `candidates`, by standing first.
void pick(const Candidates& candidates, const Better& better, Placement& out) {
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

const PlacementDevice& device_of(const Candidates& candidates, DeviceId id) {
  for (const Candidate& candidate : candidates)
    if (candidate.device->id == id) return *candidate.device;
  check_failed(__FILE__, __LINE__, "device", "the winner is a candidate");
}

void least_loaded(const Candidates& candidates, Placement& out) {
  pick(candidates, less_loaded, out);
  const PlacementDevice& d = device_of(candidates, out.winner);
  out.reason = fmt::format("fewest tasks: {} running, {} queued, {:.1f} % utilization", d.running,
                           d.queued, d.utilization);
}

void memory_optimized(const Candidates& candidates, const PlacementRequest& request,
                      Placement& out) {
  pick(candidates, more_memory, out);
  const uint64_t free = memory_free(device_of(candidates, out.winner));
  out.reason =
      fmt::format("most memory free: {} bytes before {} estimated", free, request.estimated_memory);
}

// The standing that a turn-taking strategy works in: a device that is only busy keeps its turn (the
// task queues there), one that is hot, down or unhealthy is passed over while another is not.
Candidates in_turn(const Candidates& candidates) {
  Standing best = Standing::kNever;
  for (const Candidate& c : candidates) best = std::min(best, c.standing);
  const Standing upto = std::max(best, Standing::kBusy);
  Candidates out;
  for (const Candidate& c : candidates)
    if (c.standing <= upto) out.push_back(c);
  return out;
}

void round_robin(const Candidates& all, PlacementCursor& cursor, Placement& out) {
  const Candidates candidates = in_turn(all);  // By id, as `all` is.
  size_t index = 0;
  if (cursor.last)
    while (index < candidates.size() && candidates[index].device->id <= *cursor.last) ++index;
  index %= candidates.size();
  const Candidate& winner = candidates[index];
  out.winner = winner.device->id;
  out.standing = winner.standing;
  if (candidates.size() > 1) out.runner_up = candidates[(index + 1) % candidates.size()].device->id;
  out.reason =
      cursor.last ? fmt::format("its turn after device {}", cursor.last->value) : "the first turn";
  cursor.last = out.winner;
}

void random_choice(const Candidates& all, PlacementCursor& cursor, Placement& out) {
  Standing best = Standing::kNever;
  for (const Candidate& c : all) best = std::min(best, c.standing);
  Candidates candidates;
  for (const Candidate& c : all)
    if (c.standing == best) candidates.push_back(c);
  const uint64_t draw = cursor.random.counter;
  const size_t index = cursor.random.below(candidates.size());
  out.winner = candidates[index].device->id;
  out.standing = best;
  if (candidates.size() > 1) out.runner_up = candidates[(index + 1) % candidates.size()].device->id;
  out.reason = fmt::format("draw {} of seed {}", draw, cursor.random.seed);
}

// Longest cached prefix among devices whose load is at most 1.25 times the mean, plus one (bounded
// load, as consistent hashing with bounded loads has it: arXiv:1608.01350).
void prefix_affinity(const Candidates& candidates, Placement& out) {
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
  out.reason = fmt::format("{} tokens of the prompt cached, load at most {:.1f}",
                           device_of(candidates, out.winner).cached_prefix_tokens, bound);
}

void earliest_finish(const Candidates& candidates, const PlacementRequest& request,
                     Placement& out) {
  pick(
      candidates,
      [&](const PlacementDevice& a, const PlacementDevice& b) {
        const double fa = finish_seconds(a, request), fb = finish_seconds(b, request);
        return fa != fb ? fa < fb : less_loaded(a, b);
      },
      out);
  out.reason = fmt::format("{} tokens ahead, {:.2f} s until it would be done",
                           device_of(candidates, out.winner).tokens_ahead,
                           finish_seconds(device_of(candidates, out.winner), request));
}

// The mapped devices that could run the task; empty, with a note, where least_loaded must stand in.
Candidates mapped(const PlacementPolicy& policy, const Candidates& candidates,
                  const PlacementRequest& request, std::string& note) {
  const auto found = policy.task_specific.find(request.type);
  if (found == policy.task_specific.end()) {
    note =
        fmt::format("task_specific: no mapping for type '{}', least_loaded was used", request.type);
    return {};
  }
  Candidates out;
  for (const Candidate& c : candidates)
    if (std::ranges::find(found->second, c.device->id) != found->second.end() &&
        c.standing < Standing::kDown)
      out.push_back(c);
  if (out.empty())
    note = fmt::format("task_specific: no healthy device for type '{}', least_loaded was used",
                       request.type);
  return out;
}

void run_strategy(const PlacementPolicy& policy, const Candidates& candidates,
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

std::string id_list(std::span<const PlacementDevice> devices) {
  std::string out;
  for (const PlacementDevice& d : devices)
    out += fmt::format("{}{}", out.empty() ? "" : ", ", d.id.value);
  return out;
}

// What fits nowhere: the numbers of the device that comes nearest are those of the roomiest.
Error never_fits(std::span<const PlacementDevice> devices, const PlacementRequest& request,
                 std::span<const Assessment> assessments) {
  uint64_t memory = 0, length = 0, pool = 0;
  for (const PlacementDevice& d : devices) {
    memory = std::max(memory, d.memory_total);
    length = std::max<uint64_t>(length, d.model_len_max);
    pool = std::max(pool, uint64_t{d.kv_blocks_total} * d.block_tokens);
  }
  if (request.estimated_memory > memory)
    return invalid(
        fmt::format("estimated_memory of {} bytes is more than any device has: at most {}",
                    request.estimated_memory, memory),
        "estimated_memory");
  if (length > 0 && request.sequence_tokens > length)
    return invalid(fmt::format("the prompt and the answer make {} tokens, but this model's maximum "
                               "context length is {} tokens",
                               request.sequence_tokens, length),
                   "max_length")
        .with_reason(kContextLengthExceeded);
  if (pool > 0 && request.sequence_tokens > pool)
    return invalid(fmt::format("the prompt and the answer make {} tokens, but the maximum context "
                               "length here is {} tokens: what the largest KV pool holds",
                               request.sequence_tokens, pool),
                   "max_length")
        .with_reason(kContextLengthExceeded);
  return invalid("no device is large enough: " + assessments.front().reason);
}

}  // namespace

Assessment assess(const PlacementPolicy& policy, const PlacementDevice& d,
                  const PlacementRequest& request) {
  Assessment out{d.id, Standing::kEligible, ""};
  const auto is = [&](Standing standing, std::string reason) {
    out.standing = standing;
    out.reason = std::move(reason);
    return out;
  };
  if (std::string reason = too_small(d, request); !reason.empty())
    return is(Standing::kNever, std::move(reason));
  if (std::string reason = too_small_beside_weights(d, request); !reason.empty())
    return is(Standing::kCrowded, std::move(reason));
  if (!d.healthy) return is(Standing::kUnhealthy, "unhealthy");
  if (!d.replica_running) return is(Standing::kDown, "no running replica");
  if (d.temperature > policy.max_temperature)
    return is(Standing::kHot, fmt::format("temperature: {:.1f} C, at most {:.1f}", d.temperature,
                                          policy.max_temperature));
  if (d.foreign_utilization > 100 * policy.utilization_threshold)
    return is(Standing::kHot,
              fmt::format("utilization: {:.1f} % by other processes, at most {:.1f}",
                          d.foreign_utilization, 100 * policy.utilization_threshold));
  if (std::string reason = too_full(policy, d, request); !reason.empty())
    return is(Standing::kBusy, std::move(reason));
  return out;
}

Result<Placement> choose(const PlacementPolicy& policy, std::span<const PlacementDevice> devices,
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
                               request.specific_device->value, id_list(devices)),
                   "gpu_options.specific_gpu_id");
  if (candidates.empty()) {
    if (!request.specific_device) return never_fits(devices, request, assessments);
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

std::vector<std::pair<Strategy, std::optional<DeviceId>>> alternatives(
    const PlacementPolicy& policy, std::span<const PlacementDevice> devices,
    const PlacementRequest& request, const PlacementCursor& cursor, Strategy decided) {
  std::vector<std::pair<Strategy, std::optional<DeviceId>>> out;
  for (size_t i = 0; i < kStrategyCount; ++i) {
    const auto strategy = static_cast<Strategy>(i);
    if (strategy == decided) continue;
    PlacementRequest other = request;
    other.strategy = strategy;
    PlacementCursor scratch = cursor;
    const Result<Placement> choice = choose(policy, devices, other, scratch);
    out.emplace_back(strategy, choice.ok() ? std::optional(choice->winner) : std::nullopt);
  }
  return out;
}

}  // namespace altlas::scheduler
