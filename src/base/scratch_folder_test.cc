// Goal: a scratch folder lies under TMPDIR, goes with its owner, and where the owner was killed
// with the next one; nothing else goes. Method: a child that is killed while it holds one, and
// folders that only look alike.
#include "base/scratch_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace altlas {
namespace {

namespace fs = std::filesystem;

TEST(ScratchFolder, IsUnderTmpdirAndWhatAKilledProcessLeftGoes) {
  std::string pattern = (fs::temp_directory_path() / "scratch_test_XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path root = pattern;
  const char* before = ::getenv("TMPDIR");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("TMPDIR", root.c_str(), 1);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const Result<ScratchFolder> own = ScratchFolder::make();
    if (own.ok()) std::ofstream(own->path() + "/left").put('x');
    if (::write(ends[1], own.ok() ? "y" : "n", 1) != 1) ::_exit(1);
    while (true) ::pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(ends[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  const auto count = [&] { return std::distance(fs::directory_iterator(root), {}); };
  for (const char* other : {"altlas-test-0123456", "altlas-0123456789abcdef",
                            "altlas-0123456789ABCDEF", "altlas-fedcba9876543210"})
    fs::create_directories(root / other);
  std::ofstream(root / "altlas-fedcba9876543210" / "kept").put('x');
  {
    const Result<ScratchFolder> own = ScratchFolder::make();
    ASSERT_TRUE(own.ok()) << own.error().message();
    EXPECT_EQ(fs::path(own->path()).parent_path(), root);
    struct stat info = {};
    ASSERT_EQ(::stat(own->path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0700u);
    EXPECT_EQ(count(), 6) << "the child lives: its folder stays";
  }
  EXPECT_EQ(count(), 5);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(count(), 5);
  {
    ASSERT_TRUE(ScratchFolder::make().ok());
  }
  EXPECT_EQ(count(), 4) << "the child's is gone, what has no lock is not ours";
  EXPECT_TRUE(fs::exists(root / "altlas-fedcba9876543210" / "kept"));
  ::setenv("TMPDIR", (root / "nowhere").c_str(), 1);
  EXPECT_EQ(ScratchFolder::make().error().code(), ErrorCode::kInvalid);
  if (before == nullptr)
    ::unsetenv("TMPDIR");
  else
    ::setenv("TMPDIR", kept.c_str(), 1);
  ::close(ends[0]);
  ::close(ends[1]);
  fs::remove_all(root);
}

}  // namespace
}  // namespace altlas
