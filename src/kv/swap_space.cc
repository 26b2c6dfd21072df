#include "kv/swap_space.h"

#include "base/check.h"

namespace altlas::kv {

SwapSpace::SwapSpace(uint32_t groups, uint32_t places)
    : size_(places), free_(groups), leaving_(groups) {
  for (auto& group : free_)
    for (uint32_t i = places; i > 0; --i) group.push_back(i - 1);
}

uint32_t SwapSpace::take(uint32_t group) {
  ALTLAS_CHECK(!free_[group].empty(), "a free place");
  const uint32_t place = free_[group].back();
  free_[group].pop_back();
  return place;
}

void SwapSpace::give_back(const SwappedBlocks& blocks) {
  for (size_t g = 0; g < blocks.tables.size(); ++g)
    leaving_[g].insert(leaving_[g].end(), blocks.tables[g].places.begin(),
                       blocks.tables[g].places.end());
}

void SwapSpace::forget() {
  for (size_t g = 0; g < free_.size(); ++g) {
    free_[g].insert(free_[g].end(), leaving_[g].begin(), leaving_[g].end());
    leaving_[g].clear();
  }
}

void SwapSpace::check_integrity(const std::vector<const SwappedBlocks*>& held) const {
  for (size_t g = 0; g < free_.size(); ++g) {
    std::vector<bool> seen(size_);
    size_t count = 0;
    const auto see = [&](const std::vector<uint32_t>& places) {
      for (const uint32_t place : places) {
        ALTLAS_CHECK(place < size_ && !seen[place], "a place is free, leaving or held once");
        seen[place] = true;
        ++count;
      }
    };
    see(free_[g]);
    see(leaving_[g]);
    for (const SwappedBlocks* blocks : held)
      if (!blocks->tables.empty()) see(blocks->tables[g].places);
    ALTLAS_CHECK(count == size_, "no place is lost");
  }
}

void SwapSpace::add_to(Hasher& hasher) const {
  for (const auto* lists : {&free_, &leaving_})
    for (const auto& places : *lists) {
      hasher.add(places.size());
      for (const uint32_t place : places) hasher.add(place);
    }
}

}  // namespace altlas::kv
