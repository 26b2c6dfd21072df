#include "journal/boot_epoch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace altlas::journal {
namespace {

// Goal: every start gets a larger number than all starts before it, also over restarts of the
// process. Method: a SQLite store that is closed and opened again; and one where no number is
// stored.
TEST(BootEpoch, GrowsWithEveryStart) {
  std::string folder = ::testing::TempDir() + "altlas_boot_epoch_XXXXXX";
  // Only its owner may write to the folder.
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/journal.db";
  for (uint64_t start = 1; start <= 4; ++start) {
    auto store = open_sqlite_store(path);
    ASSERT_TRUE(store.ok()) << store.error().message();
    const auto epoch = next_boot_epoch(**store);
    ASSERT_TRUE(epoch.ok()) << epoch.error().message();
    EXPECT_EQ(epoch->epoch, start);
    EXPECT_TRUE(epoch->kept.ok());
  }
  {
    auto store = open_sqlite_store(path);
    for (const char* wrong : {"", "x", "-1", "1 ", "18446744073709551615", "18446744073709551616"}) {
      ASSERT_TRUE((*store)->put_value("boot_epoch", wrong).ok());
      EXPECT_EQ(next_boot_epoch(**store).error().code(), ErrorCode::kInvalid) << wrong;
    }
    ASSERT_TRUE((*store)->put_value("boot_epoch", "41").ok());
    EXPECT_EQ(next_boot_epoch(**store)->epoch, 42u);
  }
  std::filesystem::remove_all(folder);
}

TEST(BootEpoch, StartsAtOneInMemory) {
  const auto store = open_memory_store();
  EXPECT_EQ(next_boot_epoch(*store)->epoch, 1u);
  EXPECT_EQ(next_boot_epoch(*store)->epoch, 2u);
}

}  // namespace
}  // namespace altlas::journal
