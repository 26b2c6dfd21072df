// Shares: what one owner may have of what all have together, so that there is room for others.
#pragma once

#include <cstdint>
#include <string_view>

namespace altlas {

inline constexpr std::string_view kShareRule = "a key may have three quarters of what others leave";

// Whether an owner who has `own` of the `all` that are taken may have `more`, of `most` that there
// are. One that takes all it gets leaves a quarter to the next, who leaves a quarter of that. An
// owner without a name is nobody told apart from others, and may have all.
constexpr bool has_room(std::string_view owner, uint64_t own, uint64_t all, uint64_t more,
                        uint64_t most) {
  if (all > most || more > most - all) return false;
  const uint64_t left = most - all - more;
  return owner.empty() || left > most / 3 || own + more <= 3 * left;
}

// The same rule for things that are few and counted, such as places in a queue: what an owner may
// have of `left`, what others leave, three quarters rounded up, so that one place alone is for
// whoever comes.
constexpr int64_t share_of(std::string_view owner, int64_t left) {
  if (left < 0) return 0;
  return owner.empty() ? left : left - left / 4;
}

}  // namespace altlas
