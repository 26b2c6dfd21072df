#include "scheduler/queue.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace altlas::scheduler {
namespace {
constexpr int64_t kRetryAfterMinMs = 1000, kRetryAfterMaxMs = 60'000;
}

Result<void> WaitingQueue::admits(uint64_t held, uint64_t more, uint64_t served_at_once,
                                  int64_t service_us) const {
  const uint64_t room = uint64_t{limits_.tasks_max} + served_at_once;
  if (held + more <= room) return {};
  const auto over = static_cast<int64_t>(std::min<uint64_t>(held + more - room, 1 << 20));
  const int64_t ms = std::clamp(over * std::max<int64_t>(service_us, 1) / kMillisecond,
                                kRetryAfterMinMs, kRetryAfterMaxMs);
  return Error(ErrorCode::kBusy, fmt::format("the queue is full: {} tasks wait and {} more were "
                                             "asked for, max_queue_size is {}; try "
                                             "again in {} s",
                                             held, more, limits_.tasks_max, (ms + 999) / 1000))
      .with_retry_after_ms(ms);
}

TimeUs turn_of(const QueueLimits& limits, Priority priority, TimeUs arrived) {
  return arrived + limits.rank[static_cast<size_t>(priority)] * limits.age_step_us;
}

void WaitingQueue::push(const QueueEntry& entry) {
  const Key key{!entry.front, entry.turn, pushed_++, entry.task};
  const bool added =
      entries_.emplace(entry.task, Held{key, entry.lane, entry.arrived, entry.expires}).second;
  ALTLAS_CHECK(added, "a task waits once");
  lanes_[entry.lane].insert(key);
  expiries_.emplace(entry.expires, entry.task);
}

void WaitingQueue::erase(uint64_t task) {
  const auto found = entries_.find(task);
  ALTLAS_CHECK(found != entries_.end(), "only a waiting task leaves the queue");
  lanes_[found->second.lane].erase(found->second.key);
  expiries_.erase({found->second.expires, task});
  entries_.erase(found);
}

void WaitingQueue::move(uint64_t task, uint32_t lane) {
  Held& held = entries_.at(task);
  lanes_[held.lane].erase(held.key);
  held.lane = lane;
  lanes_[lane].insert(held.key);
}

size_t WaitingQueue::size(uint32_t lane) const {
  const auto found = lanes_.find(lane);
  return found == lanes_.end() ? 0 : found->second.size();
}

uint32_t WaitingQueue::position(uint64_t task) const {
  const Held& held = entries_.at(task);
  return static_cast<uint32_t>(lanes_.at(held.lane).order_of_key(held.key)) + 1;
}

void WaitingQueue::for_each(uint32_t lane, const std::function<bool(uint64_t task)>& visit) const {
  const auto found = lanes_.find(lane);
  if (found == lanes_.end()) return;
  for (const Key& key : found->second)
    if (!visit(key.task)) return;
}

std::optional<uint64_t> WaitingQueue::head(uint32_t lane) const {
  const auto found = lanes_.find(lane);
  if (found == lanes_.end() || found->second.empty()) return std::nullopt;
  return found->second.begin()->task;
}

std::optional<TimeUs> WaitingQueue::next_expiry() const {
  if (expiries_.empty()) return std::nullopt;
  return expiries_.begin()->first;
}

std::optional<uint64_t> WaitingQueue::expired(TimeUs now) const {
  if (expiries_.empty() || expiries_.begin()->first > now) return std::nullopt;
  return expiries_.begin()->second;
}

bool WaitingQueue::rebuild() {
  lanes_.clear();
  expiries_.clear();
  for (const auto& [task, held] : entries_) {
    lanes_[held.lane].insert(held.key);
    expiries_.emplace(held.expires, task);
  }
  return true;
}

void WaitingQueue::check_integrity() const {
  size_t sum = 0;
  for (const auto& [lane, keys] : lanes_) {
    sum += keys.size();
    for (const Key& key : keys) {
      const auto found = entries_.find(key.task);
      ALTLAS_CHECK(found != entries_.end() && found->second.lane == lane,
                   "a lane holds entries of its own");
    }
  }
  ALTLAS_CHECK(sum == entries_.size(), "every entry is in one lane");
  ALTLAS_CHECK(expiries_.size() == entries_.size(), "every entry expires once");
}

}  // namespace altlas::scheduler
