#include "scheduler/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <set>

#include "base/integers.h"

namespace altlas::scheduler {
namespace {

uint32_t blocks_for(uint32_t tokens, uint32_t block_tokens) {
  return block_tokens == 0 ? 0 : ceil_div(tokens, block_tokens);
}

uint64_t memory_free(const PlacementDevice& device) {
  return device.memory_total - std::min(device.memory_total, device.memory_used);
}

// Returns true, and says why if somebody asks: most callers want to know only where a device
// stands.
template <class... Args>
bool is(std::string* why, fmt::format_string<Args...> text, Args&&... args) {
  if (why != nullptr) *why = fmt::format(text, std::forward<Args>(args)...);
  return true;
}

// Never: no waiting would change it.
bool too_small(const PlacementDevice& d, const PlacementRequest& r, std::string* why) {
  if (r.estimated_memory > d.memory_total)
    return is(why, "memory: needs {} bytes, the device has {}", r.estimated_memory, d.memory_total);
  if (d.model_len_max > 0 && r.sequence_tokens > d.model_len_max)
    return is(why, "length: prompt and max_length make {} tokens, max_model_len is {}",
              r.sequence_tokens, d.model_len_max);
  const uint64_t pool = uint64_t{d.kv_blocks_total} * d.block_tokens;
  if (pool > 0 && r.sequence_tokens > pool)
    return is(why, "kv: prompt and max_length make {} tokens, the KV pool holds {}",
              r.sequence_tokens, pool);
  return false;
}

// Returns the bytes of the sequence's KV at its longest.
uint64_t kv_bytes(const PlacementDevice& d, const PlacementRequest& r) {
  return blocks_for(r.sequence_tokens, d.block_tokens) * d.block_bytes;
}

// Crowded: only a replica's end would change it, no task's.
bool too_small_beside_weights(const PlacementDevice& d, const PlacementRequest& r,
                              std::string* why) {
  const uint64_t free = d.memory_total - std::min(d.memory_total, d.memory_fixed);
  if (r.estimated_memory == 0 || r.estimated_memory + kv_bytes(d, r) <= free) return false;
  return is(why,
            "memory: needs {} bytes and {} of KV blocks; beside weights and activations "
            "the device has {}",
            r.estimated_memory, kv_bytes(d, r), free);
}

// A reservation is a promise: KV blocks may not grow into it.
bool no_room_beside_reservations(const PlacementDevice& d, const PlacementRequest& r,
                                 std::string* why) {
  if (r.estimated_memory == 0 && d.memory_reserved == 0) return false;
  const uint64_t free = memory_free(d) - std::min(memory_free(d), d.memory_growth);
  if (r.estimated_memory + kv_bytes(d, r) <= free) return false;
  return is(why,
            "memory: needs {} bytes and {} of KV blocks, {} free beside {} reserved and "
            "{} that running tasks may grow by",
            r.estimated_memory, kv_bytes(d, r), free, d.memory_reserved, d.memory_growth);
}

// Busy: it passes as other tasks end.
bool too_full(const PlacementPolicy& policy, const PlacementDevice& d, const PlacementRequest& r,
              std::string* why) {
  if (d.tasks_max > 0 && d.tasks >= d.tasks_max)
    return is(why, "tasks: {} of at most {}", d.tasks, d.tasks_max);
  if (static_cast<double>(d.memory_used) >
      policy.memory_threshold * static_cast<double>(d.memory_total))
    return is(why, "memory: {} of {} bytes used, memory_threshold is {}", d.memory_used,
              d.memory_total, policy.memory_threshold);
  if (r.estimated_memory > memory_free(d))
    return is(why, "memory: needs {} bytes, {} free", r.estimated_memory, memory_free(d));
  if (no_room_beside_reservations(d, r, why)) return true;
  const uint32_t need = blocks_for(r.prompt_tokens, d.block_tokens);
  if (need > d.kv_blocks_free && d.kv_blocks_total > 0)
    return is(why, "kv: needs {} blocks, {} free", need, d.kv_blocks_free);
  return false;
}

// Whether `a` is preferred to `b`. The order is strict, since it ends with the id.
using Better = std::function<bool(const PlacementDevice& a, const PlacementDevice& b)>;

uint32_t load(const PlacementDevice& d) { return d.running + d.queued; }

bool less_loaded(const PlacementDevice& a, const PlacementDevice& b) {
  if (load(a) != load(b)) return load(a) < load(b);
  if (a.utilization != b.utilization) return a.utilization < b.utilization;
  return a.id < b.id;
}

bool more_memory(const PlacementDevice& a, const PlacementDevice& b) {
  // The estimate is the same for both, so the one with more memory free before it has more after
  // it.
  if (memory_free(a) != memory_free(b)) return memory_free(a) > memory_free(b);
  return less_loaded(a, b);
}

// Predicts the seconds until a task that is given to the device now would end. An unknown rate
// counts as one token per second.
double finish_seconds(const PlacementDevice& d, const PlacementRequest& r) {
  return (static_cast<double>(d.tokens_ahead) + r.sequence_tokens) / rate_of(d);
}

// A device that may take the task, and its standing.
struct Candidate {
  const PlacementDevice* device = nullptr;
  Standing standing = Standing::kEligible;
};

// The first two of the candidates offered: by standing, then by `better`.
class Best {
 public:
  explicit Best(const Better& better) : better_(better) {}
  bool before(const Candidate& a, const Candidate& b) const {
    if (a.standing != b.standing) return a.standing < b.standing;
    return better_(*a.device, *b.device);
  }
  // Whether the candidate would be one of the first two.
  bool improves(const Candidate& one) const {
    return second_.device == nullptr || before(one, second_);
  }
  void offer(const Candidate& one) {
    if (first_.device == nullptr || before(one, first_)) {
      second_ = std::exchange(first_, one);
    } else if (improves(one)) {
      second_ = one;
    }
  }
  void tell(Placement& out) const {
    out.winner = first_.device->id;
    out.standing = first_.standing;
    if (second_.device != nullptr) out.runner_up = second_.device->id;
  }
  const PlacementDevice& winner() const { return *first_.device; }
  bool empty() const { return first_.device == nullptr; }

 private:
  const Better& better_;
  Candidate first_, second_;
};

// One choice. It looks only into nodes of the index that may change it.
class Chooser {
 public:
  Chooser(const PlacementPolicy& policy, const PlacementIndex& index,
          const PlacementRequest& request)
      : policy_(policy), index_(index), request_(request) {}

  // The first two candidates: by standing, then by `better`, which must outlive the answer.
  Best pick(const Better& better) const {
    Best best(better);
    pick_in(index_.root(), best);
    return best;
  }
  // The best standing of all devices.
  Standing best_standing() const {
    Standing best = Standing::kNever;
    lower_in(index_.root(), best);
    return best;
  }
  // The number of devices that stand at `upto` or better.
  size_t count(Standing upto) const { return count_in(index_.root(), upto); }
  // The device with `skip` such devices before it, by id.
  const PlacementDevice& nth(Standing upto, size_t skip) const {
    return *nth_in(index_.root(), upto, skip);
  }
  // The first such device with an id above `after`, or null.
  const PlacementDevice* next(Standing upto, std::optional<DeviceId> after) const {
    return next_in(index_.root(), upto, after);
  }
  // The number of tasks on all devices that may take the task.
  uint64_t load_sum() const { return load_in(index_.root()); }
  // The devices that are not eligible, by id; at most `most`.
  std::vector<Assessment> rejected(size_t most) const {
    std::vector<Assessment> out;
    reject_in(index_.root(), most, out);
    return out;
  }
  Standing standing(const PlacementDevice& device) const {
    return standing_of(policy_, device, request_);
  }

 private:
  using Node = PlacementIndex::Node;
  void pick_in(Node at, Best& best) const {
    const Candidate ideal{&at.best(), standing(at.best())};
    if (ideal.standing == Standing::kNever || !best.improves(ideal)) return;
    if (at.is_leaf()) return best.offer(ideal);
    const Node left = at.left(), right = at.right();
    if (!right.empty() && best.before({&right.best(), standing(right.best())},
                                      {&left.best(), standing(left.best())})) {
      pick_in(right, best);
      pick_in(left, best);
    } else {
      pick_in(left, best);
      if (!right.empty()) pick_in(right, best);
    }
  }
  void lower_in(Node at, Standing& best) const {
    if (at.empty() || best == Standing::kEligible) return;
    const Standing ideal = standing(at.best());
    if (ideal >= best) return;
    if (at.is_leaf()) {
      best = ideal;
      return;
    }
    lower_in(at.left(), best);
    lower_in(at.right(), best);
  }
  size_t count_in(Node at, Standing upto) const {
    if (at.empty() || standing(at.best()) > upto) return 0;
    if (at.is_leaf()) return 1;
    if (all_have_room(at)) return at.count(upto);
    return count_in(at.left(), upto) + count_in(at.right(), upto);
  }
  // Whether every device has what the request needs: their standings then don't depend on the
  // request.
  bool all_have_room(Node at) const {
    PlacementDevice worst = at.worst();
    worst.healthy = worst.replica_running = worst.replica_wanted = true;
    worst.temperature = -1;
    worst.foreign_utilization = 0;
    worst.tasks_max = 0;
    return standing_of(open_, worst, request_) == Standing::kEligible;
  }
  const PlacementDevice* nth_in(Node at, Standing upto, size_t skip) const {
    while (!at.is_leaf()) {
      const size_t left = count_in(at.left(), upto);
      at = skip < left ? at.left() : at.right();
      if (skip >= left) skip -= left;
    }
    return &at.best();
  }
  const PlacementDevice* next_in(Node at, Standing upto, std::optional<DeviceId> after) const {
    if (at.empty() || (after && at.last() <= *after) || standing(at.best()) > upto) return nullptr;
    if (at.is_leaf()) return &at.best();
    if (const PlacementDevice* found = next_in(at.left(), upto, after)) return found;
    return next_in(at.right(), upto, after);
  }
  uint64_t load_in(Node at) const {
    if (at.empty() || standing(at.best()) == Standing::kNever) return 0;
    if (at.is_leaf() || standing(at.worst()) < Standing::kNever) return at.load();
    return load_in(at.left()) + load_in(at.right());
  }
  void reject_in(Node at, size_t most, std::vector<Assessment>& out) const {
    if (at.empty() || out.size() >= most || standing(at.worst()) == Standing::kEligible) return;
    if (at.is_leaf()) {
      out.push_back(assess(policy_, at.best(), request_));
      return;
    }
    reject_in(at.left(), most, out);
    reject_in(at.right(), most, out);
  }

  const PlacementPolicy& policy_;
  // A policy without limits of its own.
  const PlacementPolicy open_{.memory_threshold = std::numeric_limits<double>::infinity()};
  const PlacementIndex& index_;
  const PlacementRequest& request_;
};

void explain_least_loaded(const PlacementDevice& d, Placement& out) {
  out.reason = fmt::format("fewest tasks: {} running, {} queued, {:.1f} % utilization", d.running,
                           d.queued, d.utilization);
}

void least_loaded(const Chooser& chooser, Placement& out) {
  const Better better = less_loaded;
  const Best best = chooser.pick(better);
  best.tell(out);
  explain_least_loaded(best.winner(), out);
}

void memory_optimized(const Chooser& chooser, const PlacementRequest& request, Placement& out) {
  const Better better = more_memory;
  const Best best = chooser.pick(better);
  best.tell(out);
  out.reason = fmt::format("most memory free: {} bytes before {} estimated",
                           memory_free(best.winner()), request.estimated_memory);
}

// Chooses in turn. A device that is only busy keeps its turn (the task queues there); one that is
// hot, down or unhealthy is passed over while another is not.
void round_robin(const Chooser& chooser, PlacementCursor& cursor, Placement& out) {
  const Standing upto = std::max(chooser.best_standing(), Standing::kBusy);
  const PlacementDevice* winner = chooser.next(upto, cursor.last);
  if (winner == nullptr) winner = chooser.next(upto, std::nullopt);
  const PlacementDevice* second = chooser.next(upto, winner->id);
  if (second == nullptr) second = chooser.next(upto, std::nullopt);
  out.winner = winner->id;
  out.standing = chooser.standing(*winner);
  if (second != winner) out.runner_up = second->id;
  out.reason =
      cursor.last ? fmt::format("its turn after device {}", cursor.last->value) : "the first turn";
  cursor.last = out.winner;
}

void random_choice(const Chooser& chooser, PlacementCursor& cursor, Placement& out) {
  const Standing best = chooser.best_standing();
  const size_t count = chooser.count(best);
  const uint64_t draw = cursor.random.counter;
  const size_t index = cursor.random.below(count);
  out.winner = chooser.nth(best, index).id;
  out.standing = best;
  if (count > 1) out.runner_up = chooser.nth(best, (index + 1) % count).id;
  out.reason = fmt::format("draw {} of seed {}", draw, cursor.random.seed);
}

// Chooses the longest cached prefix among devices whose load is at most 1.25 times the mean, plus
// one (a bounded load, as in consistent hashing with bounded loads: arXiv:1608.01350).
void prefix_affinity(const Chooser& chooser, Placement& out) {
  const auto candidates = static_cast<double>(chooser.count(Standing::kCrowded));
  const double bound = 1.25 * static_cast<double>(chooser.load_sum()) / candidates + 1;
  const auto within = [&](const PlacementDevice& d) { return load(d) <= bound; };
  const Better better = [&](const PlacementDevice& a, const PlacementDevice& b) {
    if (within(a) != within(b)) return within(a);
    if (a.cached_prefix_tokens != b.cached_prefix_tokens)
      return a.cached_prefix_tokens > b.cached_prefix_tokens;
    return less_loaded(a, b);
  };
  const Best best = chooser.pick(better);
  best.tell(out);
  const PlacementDevice& d = best.winner();
  out.reason = fmt::format("{} tokens of the prompt cached, load {} {} the bound of {:.1f}",
                           d.cached_prefix_tokens, load(d), within(d) ? "within" : "over", bound);
}

void earliest_finish(const Chooser& chooser, const PlacementRequest& request, Placement& out) {
  const Better better = [&](const PlacementDevice& a, const PlacementDevice& b) {
    const double fa = finish_seconds(a, request), fb = finish_seconds(b, request);
    return fa != fb ? fa < fb : less_loaded(a, b);
  };
  const Best best = chooser.pick(better);
  best.tell(out);
  out.reason = fmt::format("{} tokens ahead, {:.2f} s until it would be done",
                           best.winner().tokens_ahead, finish_seconds(best.winner(), request));
}

// Chooses among the mapped devices that could run the task; if there are none, as least_loaded,
// with a note.
void task_specific(const PlacementPolicy& policy, const PlacementIndex& index,
                   const Chooser& chooser, const PlacementRequest& request, Placement& out) {
  const Better better = less_loaded;
  Best best(better);
  const auto found = policy.task_specific.find(request.type);
  if (found == policy.task_specific.end()) {
    out.note =
        fmt::format("task_specific: no mapping for type '{}', least_loaded was used", request.type);
  } else {
    for (const DeviceId id : std::set(found->second.begin(), found->second.end())) {
      const auto at = index.find(id);
      if (!at) continue;
      const Standing standing = chooser.standing(index[*at]);
      if (standing < Standing::kDown) best.offer({&index[*at], standing});
    }
    if (best.empty())
      out.note = fmt::format(
          "task_specific: no mapped device is ready for type '{}', least_loaded was used",
          request.type);
  }
  if (best.empty()) {
    out.strategy = Strategy::kLeastLoaded;
    return least_loaded(chooser, out);
  }
  best.tell(out);
  explain_least_loaded(best.winner(), out);
  out.reason = fmt::format("mapped for type '{}'; {}", request.type, out.reason);
}

void run_strategy(const PlacementPolicy& policy, const PlacementIndex& index,
                  const PlacementRequest& request, PlacementCursor& cursor, Placement& out) {
  const Chooser chooser(policy, index, request);
  out.strategy = request.strategy;
  switch (request.strategy) {
    case Strategy::kRoundRobin:
      return round_robin(chooser, cursor, out);
    case Strategy::kLeastLoaded:
      return least_loaded(chooser, out);
    case Strategy::kMemoryOptimized:
      return memory_optimized(chooser, request, out);
    case Strategy::kRandom:
      return random_choice(chooser, cursor, out);
    case Strategy::kPrefixAffinity:
      return prefix_affinity(chooser, out);
    case Strategy::kEarliestFinish:
      return earliest_finish(chooser, request, out);
    case Strategy::kTaskSpecific:
      return task_specific(policy, index, chooser, request, out);
  }
}

std::string id_list(std::span<const PlacementDevice> devices) {
  std::string out;
  for (const PlacementDevice& d : devices)
    out += fmt::format("{}{}", out.empty() ? "" : ", ", d.id.value);
  return out;
}

// The error for a request that fits nowhere. Its numbers are the largest of all devices, so they
// are those of the device that comes nearest.
Error never_fits(const PlacementPolicy& policy, std::span<const PlacementDevice> devices,
                 const PlacementRequest& request) {
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
  return invalid("no device is large enough: " + assess(policy, devices.front(), request).reason);
}

}  // namespace

Standing standing_of(const PlacementPolicy& policy, const PlacementDevice& d,
                     const PlacementRequest& request, std::string* why) {
  if (too_small(d, request, why)) return Standing::kNever;
  if (too_small_beside_weights(d, request, why)) return Standing::kCrowded;
  if (!d.healthy) return is(why, "unhealthy"), Standing::kUnhealthy;
  if (!d.replica_wanted) return is(why, "no replica is wanted here now"), Standing::kUnhealthy;
  if (!d.replica_running) return is(why, "no running replica"), Standing::kDown;
  if (d.temperature > policy.max_temperature)
    return is(why, "temperature: {:.1f} C, at most {:.1f}", d.temperature, policy.max_temperature),
           Standing::kHot;
  if (d.foreign_utilization > 100 * policy.utilization_threshold)
    return is(why, "utilization: {:.1f} % by other processes, at most {:.1f}",
              d.foreign_utilization, 100 * policy.utilization_threshold),
           Standing::kHot;
  return too_full(policy, d, request, why) ? Standing::kBusy : Standing::kEligible;
}

Assessment assess(const PlacementPolicy& policy, const PlacementDevice& device,
                  const PlacementRequest& request) {
  Assessment out{device.id, Standing::kEligible, ""};
  out.standing = standing_of(policy, device, request, &out.reason);
  return out;
}

PlacementIndex index_of(const PlacementPolicy& policy, std::vector<PlacementDevice> devices) {
  PlacementIndex index(std::move(devices));
  for (size_t i = 0; i < index.devices().size(); ++i)
    index.set(i, index[i], standing_of(policy, index[i], {}));
  return index;
}

Result<Placement> choose(const PlacementPolicy& policy, const PlacementIndex& index,
                         const PlacementRequest& request, PlacementCursor& cursor) {
  if (index.devices().empty()) return unavailable("no device runs this deployment");
  Placement out;
  if (!request.specific_device) {
    const Chooser chooser(policy, index, request);
    if (chooser.count(Standing::kCrowded) == 0) return never_fits(policy, index.devices(), request);
    run_strategy(policy, index, request, cursor, out);
    out.rejected = chooser.rejected(kRejectedMax);
    return out;
  }
  const auto at = index.find(*request.specific_device);
  if (!at)
    return invalid(fmt::format("device {} does not run this deployment; the devices that do: {}",
                               request.specific_device->value, id_list(index.devices())),
                   "gpu_options.specific_gpu_id");
  Assessment asked = assess(policy, index[*at], request);
  if (asked.standing == Standing::kNever)
    return invalid(
        fmt::format("device {} is too small: {}", request.specific_device->value, asked.reason),
        "gpu_options.specific_gpu_id");
  out.strategy = request.strategy;
  out.winner = asked.device;
  out.standing = asked.standing;
  out.reason = "asked for by specific_gpu_id";
  if (asked.standing != Standing::kEligible) out.rejected.push_back(std::move(asked));
  return out;
}

std::vector<std::pair<Strategy, std::optional<DeviceId>>> alternatives(
    const PlacementPolicy& policy, const PlacementIndex& index, const PlacementRequest& request,
    const PlacementCursor& cursor, Strategy decided) {
  std::vector<std::pair<Strategy, std::optional<DeviceId>>> out;
  PlacementRequest other = request;
  other.specific_device.reset();
  const bool fits = Chooser(policy, index, other).count(Standing::kCrowded) > 0;
  for (size_t i = 0; i < kStrategyCount; ++i) {
    other.strategy = static_cast<Strategy>(i);
    if (other.strategy == decided && !request.specific_device) continue;
    PlacementCursor scratch = cursor;
    Placement choice;
    if (fits) run_strategy(policy, index, other, scratch, choice);
    out.emplace_back(other.strategy, fits ? std::optional(choice.winner) : std::nullopt);
  }
  return out;
}

}  // namespace altlas::scheduler
