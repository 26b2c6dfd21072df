#include "tensor/rows.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace altlas {
namespace {

// Goal: parts of a view, by rows and by columns, lie where the matrix has them, and what is written
// through one view is seen through another.
TEST(Rows, PartsLieInTheMatrix) {
  std::vector<int> matrix(4 * 7);
  std::iota(matrix.begin(), matrix.end(), 0);
  const Rows<int> all{matrix.data(), 4, 7};
  EXPECT_EQ(all[2][3], 17);
  const Rows<int> part = all.rows(1, 3).from_column(5);
  EXPECT_EQ(part.count, 2u);
  EXPECT_EQ(part[1][0], 19);
  part[1][1] = -1;
  const Rows<const int> seen = all;
  EXPECT_EQ(seen[2][6], -1);
  EXPECT_EQ(all.rows(4, 4).count, 0u);
}

}  // namespace
}  // namespace altlas
