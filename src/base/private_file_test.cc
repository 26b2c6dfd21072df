// Goal: a folder or file of others, or open to others, is refused and left as it is; what is made
// is closed. Method: each way in which a place can be somebody else's; root also gives places away.
#include "base/private_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace altlas {
namespace {

namespace fs = std::filesystem;

class PrivateFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "altlas_private_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }
  std::string at(const std::string& name) const { return root_ + "/" + name; }
  static mode_t mode_of(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }
  std::string root_;
};

TEST_F(PrivateFile, FoldersAreMadeClosed) {
  const mode_t before = ::umask(0);
  EXPECT_TRUE(make_private_folder(at("a/b/c"), "x").ok());
  EXPECT_TRUE(make_private_folder(at("d/"), "x").ok());
  ::umask(before);
  EXPECT_EQ(mode_of(at("a/b/c")), 0700u);
  EXPECT_EQ(mode_of(at("d")), 0700u);
}

TEST_F(PrivateFile, FoldersThatOthersMayWriteToAreRefusedAndLeft) {
  const struct {
    mode_t mode;
    bool taken;
  } kModes[] = {{0700, true},  {0755, true},   {0750, true},  {01777, false},
                {0777, false}, {02775, false}, {0720, false}, {0702, false}};
  for (const auto& [mode, taken] : kModes) {
    const std::string path = at(std::to_string(mode));
    ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    const Result<void> got = make_private_folder(path, "--data-dir");
    EXPECT_EQ(got.ok(), taken) << std::oct << mode;
    if (!got.ok()) {
      EXPECT_EQ(got.error().code(), ErrorCode::kInvalid);
      EXPECT_NE(got.error().message().find("--data-dir: others may write"), std::string::npos);
    }
    EXPECT_EQ(mode_of(path), mode);
  }
  ASSERT_EQ(::mkdir(at("open").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir(at("open/own").c_str(), 0700), 0);
  ASSERT_EQ(::chmod(at("open").c_str(), 0777), 0);
  EXPECT_FALSE(make_private_folder(at("open/own"), "x").ok()) << "its name can be taken away";
  std::ofstream(at("file")).put('x');
  EXPECT_EQ(make_private_folder(at("file"), "x").error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(make_private_folder(at("file/below"), "x").error().code(), ErrorCode::kIo);
  if (::geteuid() != 0) return;
  ASSERT_EQ(::mkdir(at("given").c_str(), 0700), 0);
  ASSERT_EQ(::chown(at("given").c_str(), 12345, 12345), 0);
  EXPECT_FALSE(make_private_folder(at("given"), "x").ok());
  ASSERT_EQ(::mkdir(at("target").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("target", at("link").c_str()), 0);
  EXPECT_TRUE(make_private_folder(at("link"), "x").ok()) << "one's own link is one's own will";
  ASSERT_EQ(::lchown(at("link").c_str(), 12345, 12345), 0);
  EXPECT_FALSE(make_private_folder(at("link"), "x").ok());
}

TEST_F(PrivateFile, FilesFollowNoLinksAndAreClosed) {
  const auto open = [&](const std::string& name) {
    const Result<int> fd = open_private_file(at(name), O_RDWR | O_CREAT);
    if (fd.ok()) ::close(*fd);
    return fd.ok();
  };
  std::ofstream(at("victim")) << "kept";
  ASSERT_EQ(::symlink("victim", at("link").c_str()), 0);
  ASSERT_EQ(::symlink("nowhere", at("dangling").c_str()), 0);
  ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
  std::ofstream(at("two")).put('x');
  ASSERT_EQ(::link(at("two").c_str(), at("names").c_str()), 0);
  std::ofstream(at("loose")).put('x');
  ASSERT_EQ(::chmod(at("loose").c_str(), 0666), 0);
  EXPECT_FALSE(open("link"));
  EXPECT_FALSE(open("dangling"));
  EXPECT_FALSE(fs::exists(at("nowhere")));
  EXPECT_FALSE(open("pipe"));
  EXPECT_FALSE(open("two"));
  EXPECT_TRUE(open("loose"));
  EXPECT_EQ(mode_of(at("loose")), 0600u);
  const mode_t before = ::umask(0);
  EXPECT_TRUE(open("new"));
  ::umask(before);
  EXPECT_EQ(mode_of(at("new")), 0600u);
  EXPECT_EQ(open_private_file(at("absent"), O_RDONLY).error().code(), ErrorCode::kNotFound);
}

TEST_F(PrivateFile, SecretsThatOthersMayWriteAreRefused) {
  for (const auto& [mode, taken] : {std::pair<mode_t, bool>{0600, true},
                                    {0400, true},
                                    {0644, true},
                                    {0666, false},
                                    {0620, false},
                                    {0602, false},
                                    {0777, false}}) {
    const std::string path = at("key" + std::to_string(mode));
    std::ofstream(path) << "key";
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    EXPECT_EQ(check_secret_file(path, "auth.keys_file").ok(), taken) << std::oct << mode;
  }
  EXPECT_TRUE(check_secret_file(at("absent"), "x").ok());
}

}  // namespace
}  // namespace altlas
