// KeyBook: idempotency keys of tasks that are forgotten, so that a repeat is not carried out again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "task/task.h"

namespace altlas::control {

// What is left of a task under its key.
struct KeyRecord {
  TaskId task;
  uint64_t body_hash = 0;
  DeviceId device;
  TaskStatus status = TaskStatus::kCompleted;
  TimeUs accepted = 0;
};

// Pure.
class KeyBook {
 public:
  size_t size() const { return size_; }
  // The task that stood there before, if one did.
  std::optional<TaskId> add(const std::string& owner, const std::string& key,
                            const KeyRecord& record);
  // Null: not here.
  const KeyRecord* find(const std::string& owner, const std::string& key) const;
  // Removes what was accepted before `before`, then the oldest of whoever has most until no more
  // than `most` are left: nobody's many keys make another's forgotten.
  std::vector<TaskId> trim(TimeUs before, size_t most);

 private:
  struct Owner {
    std::map<std::string, KeyRecord> records;
    std::set<std::pair<TimeUs, std::string>> by_age;
  };
  TaskId remove_oldest(std::map<std::string, Owner>::iterator owner);

  std::map<std::string, Owner> owners_;
  size_t size_ = 0;
};

}  // namespace altlas::control
