#include "scheduler/fair_turns.h"

#include <algorithm>

#include "base/check.h"

namespace altlas::scheduler {

// Returns the first time from `own` on that none of the owner's tasks has. Tasks of one request
// come at the same time, and others' tasks are to go between them, so each needs a turn of its own.
TimeUs FairTurns::next_free(const Unserved& unserved, TimeUs own) {
  const size_t first = unserved.order_of_key({own, 0});
  // `taken` counts the times from `own` on that have no gap.
  size_t taken = 0, most = unserved.size() - first;
  while (taken < most) {
    const size_t middle = taken + (most - taken) / 2;
    if (unserved.find_by_order(first + middle)->first <= own + static_cast<TimeUs>(middle)) {
      taken = middle + 1;
    } else {
      most = middle;
    }
  }
  return own + static_cast<TimeUs>(taken);
}

TimeUs FairTurns::enter(const TurnRequest& request) {
  Entry entry{request.owner, request.lane, request.level, false, request.own, request.own};
  const auto place = places_.find({request.lane, request.level});
  if (place != places_.end()) {
    size_t before = 0;  // The owner's unfinished tasks.
    TimeUs at_least = INT64_MIN;
    if (const auto mine = place->second.find(request.owner); mine != place->second.end()) {
      const Unserved& unserved = mine->second.unserved;
      before = unserved.size() + mine->second.served;
      entry.own = entry.turn = next_free(unserved, request.own);
      if (const size_t rank = unserved.order_of_key({entry.own, 0}); rank > 0)
        at_least = entries_.at(unserved.find_by_order(rank - 1)->second).turn;
    }
    for (const auto& [owner, group] : place->second) {
      if (owner == request.owner) continue;
      const size_t rank = before - std::min(before, group.served);
      if (rank < group.unserved.size())
        entry.turn = std::min(entry.turn, group.unserved.find_by_order(rank)->first);
    }
    entry.turn = std::max(entry.turn, at_least);
  }
  const auto [added, fresh] = entries_.emplace(request.task, std::move(entry));
  ALTLAS_CHECK(fresh, "a task gets its turn once");
  add(request.task, added->second);
  return added->second.turn;
}

void FairTurns::move(uint64_t task, uint32_t lane) {
  Entry& entry = entries_.at(task);
  remove(task, entry);
  entry.lane = lane;
  add(task, entry);
}

void FairTurns::served(uint64_t task) {
  Entry& entry = entries_.at(task);
  remove(task, entry);
  entry.served = true;
  add(task, entry);
}

void FairTurns::leave(uint64_t task) {
  const auto found = entries_.find(task);
  ALTLAS_CHECK(found != entries_.end(), "only an unfinished task leaves");
  remove(task, found->second);
  entries_.erase(found);
}

void FairTurns::add(uint64_t task, const Entry& entry) {
  Group& group = places_[{entry.lane, entry.level}][entry.owner];
  if (entry.served) {
    ++group.served;
  } else {
    group.unserved.insert({entry.own, task});
  }
}

void FairTurns::remove(uint64_t task, const Entry& entry) {
  const auto place = places_.find({entry.lane, entry.level});
  const auto owner = place->second.find(entry.owner);
  Group& group = owner->second;
  if (entry.served) {
    --group.served;
  } else {
    group.unserved.erase({entry.own, task});
  }
  if (group.served > 0 || !group.unserved.empty()) return;
  place->second.erase(owner);
  if (place->second.empty()) places_.erase(place);
}

bool FairTurns::rebuild() {
  places_.clear();
  for (const auto& [task, entry] : entries_) add(task, entry);
  return true;
}

void FairTurns::check_integrity() const {
  size_t sum = 0;
  for (const auto& [place, owners] : places_) {
    for (const auto& [owner, group] : owners) {
      sum += group.served + group.unserved.size();
      for (const auto& [own, task] : group.unserved) {
        const Entry& entry = entries_.at(task);
        ALTLAS_CHECK(entry.owner == owner && Place(entry.lane, entry.level) == place,
                     "an owner's tasks are found under its name");
        ALTLAS_CHECK(entry.own == own && entry.turn <= own, "a turn is never later than its own");
      }
    }
  }
  ALTLAS_CHECK(sum == entries_.size(), "every unfinished task is counted once");
}

}  // namespace altlas::scheduler
