#include "control/key_book.h"

#include <algorithm>
#include <utility>

namespace altlas::control {

std::optional<TaskId> KeyBook::add(const std::string& owner, const std::string& key,
                                   const KeyRecord& record) {
  Owner& one = owners_[owner];
  const auto [at, fresh] = one.records.try_emplace(key, record);
  std::optional<TaskId> before;
  if (fresh) {
    ++size_;
  } else {
    one.by_age.erase({at->second.accepted, key});
    before = std::exchange(at->second, record).task;
  }
  one.by_age.emplace(record.accepted, key);
  return before;
}

const KeyRecord* KeyBook::find(const std::string& owner, const std::string& key) const {
  const auto one = owners_.find(owner);
  if (one == owners_.end()) return nullptr;
  const auto found = one->second.records.find(key);
  return found == one->second.records.end() ? nullptr : &found->second;
}

TaskId KeyBook::remove_oldest(std::map<std::string, Owner>::iterator owner) {
  Owner& one = owner->second;
  const auto oldest = one.by_age.begin();
  const auto record = one.records.find(oldest->second);
  const TaskId task = record->second.task;
  one.records.erase(record);
  one.by_age.erase(oldest);
  if (one.records.empty()) owners_.erase(owner);
  --size_;
  return task;
}

std::vector<TaskId> KeyBook::trim(TimeUs before, size_t most) {
  std::vector<TaskId> out;
  for (auto next = owners_.begin(); next != owners_.end();) {
    const auto owner = next++;
    for (size_t left = owner->second.by_age.size();
         left > 0 && owner->second.by_age.begin()->first < before; --left)
      out.push_back(remove_oldest(owner));
  }
  while (size_ > most)
    out.push_back(remove_oldest(std::ranges::max_element(
        owners_, {}, [](const auto& one) { return one.second.records.size(); })));
  return out;
}

}  // namespace altlas::control
