// ChangeSet: which of a row of things that are counted from 0 (devices, slots) have changed since
// somebody looked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace altlas {

// Pure. Everything counts as changed at first.
class ChangeSet {
 public:
  void resize(size_t count) {
    const size_t before = is_changed_.size();
    is_changed_.resize(count, false);
    for (size_t which = before; which < count; ++which) add(static_cast<uint32_t>(which));
  }
  void add(uint32_t which) {
    if (is_changed_[which]) return;
    is_changed_[which] = true;
    changed_.push_back(which);
  }
  void add_all() {
    for (uint32_t which = 0; which < is_changed_.size(); ++which) add(which);
  }
  bool empty() const { return changed_.empty(); }
  // What has changed, each once, in the order of its first change. Empty afterwards.
  std::vector<uint32_t> take() {
    for (const uint32_t which : changed_) is_changed_[which] = false;
    return std::exchange(changed_, {});
  }

 private:
  std::vector<bool> is_changed_;
  std::vector<uint32_t> changed_;
};

}  // namespace altlas
