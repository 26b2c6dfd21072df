#include "control/kept_tasks.h"

#include <algorithm>

#include "base/check.h"

namespace altlas::control {

void KeptTasks::push(const std::string& owner, uint64_t number, uint64_t bytes) {
  of_owner_[owner].push_back({number, bytes});
  ++size_;
  bytes_ += bytes;
}

uint64_t KeptTasks::pop() {
  ALTLAS_CHECK(size_ > 0, "there is a task to forget");
  const auto most = std::ranges::max_element(
      of_owner_, {}, [](const auto& one) { return one.second.size(); });
  const auto [number, bytes] = most->second.front();
  most->second.pop_front();
  if (most->second.empty()) of_owner_.erase(most);
  --size_;
  bytes_ -= bytes;
  return number;
}

}  // namespace altlas::control
