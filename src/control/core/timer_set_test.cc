// Goal: timers are due in time, whatever was set before. Method: a table, compared with a plain
// list.
#include "control/core/timer_set.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/philox.h"

namespace altlas::control {
namespace {

TEST(TimerSet, AgreesWithAPlainList) {
  TimerSet timers;
  timers.resize(20);
  std::vector<TimeUs> plain(20, INT64_MAX);
  PhiloxStream random{7};
  for (int i = 0; i < 2000; ++i) {
    const auto which = static_cast<uint32_t>(random.below(20));
    const TimeUs at = random.below(4) == 0 ? INT64_MAX : static_cast<TimeUs>(random.below(100));
    timers.set(which, at);
    plain[which] = at;
    timers.check_integrity();
    EXPECT_EQ(timers.next(), *std::ranges::min_element(plain));
    const auto now = static_cast<TimeUs>(random.below(100));
    std::set<uint32_t> due;
    for (uint32_t each = 0; each < 20; ++each)
      if (plain[each] <= now) due.insert(each);
    EXPECT_EQ(timers.due(now), due);
  }
}

}  // namespace
}  // namespace altlas::control
