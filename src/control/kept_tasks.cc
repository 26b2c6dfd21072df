#include "control/kept_tasks.h"

#include <algorithm>

#include "base/check.h"

namespace altlas::control {

void KeptTasks::push(const std::string& owner, uint64_t number, uint64_t bytes) {
  Owner& one = of_owner_[owner];
  one.tasks.push_back({number, bytes});
  one.bytes += bytes;
  ++size_;
  bytes_ += bytes;
}

uint64_t KeptTasks::pop_of(Owners::iterator owner) {
  Owner& one = owner->second;
  const auto [number, bytes] = one.tasks.front();
  one.tasks.pop_front();
  one.bytes -= bytes;
  if (one.tasks.empty()) of_owner_.erase(owner);
  --size_;
  bytes_ -= bytes;
  return number;
}

uint64_t KeptTasks::pop() {
  ALTLAS_CHECK(size_ > 0, "there is a task to forget");
  return pop_of(std::ranges::max_element(
      of_owner_, {}, [](const auto& one) { return one.second.tasks.size(); }));
}

uint64_t KeptTasks::pop_of_largest() {
  ALTLAS_CHECK(size_ > 0, "there is a task to forget");
  return pop_of(
      std::ranges::max_element(of_owner_, {}, [](const auto& one) { return one.second.bytes; }));
}

}  // namespace altlas::control
