// Goal: what changed is told once, in the order of its first change.
#include "base/change_set.h"

#include <gtest/gtest.h>

namespace altlas {
namespace {

TEST(ChangeSet, EachChangeIsTakenOnce) {
  ChangeSet changed;
  changed.resize(3);
  EXPECT_EQ(changed.take(), (std::vector<uint32_t>{0, 1, 2}));
  EXPECT_TRUE(changed.empty());
  changed.add(2), changed.add(0), changed.add(2);
  EXPECT_EQ(changed.take(), (std::vector<uint32_t>{2, 0}));
  changed.add(1);
  changed.add_all();
  EXPECT_EQ(changed.take().size(), 3u);
}

}  // namespace
}  // namespace altlas
