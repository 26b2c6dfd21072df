// Goal: a journal that lost durable events is refused, keeps what is left of it, and opens when the
// loss is accepted; a journal that lost nothing is never refused. Method: the files of a store that
// still runs, as a kill leaves them, damaged in every way that a file can be.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "journal/mark.h"
#include "journal/sqlite_store.h"
#include "journal/test_events.h"

namespace altlas::journal {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void flip(const fs::path& path, uint64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const char old = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(old ^ 0x10));
}

// Journals in folders that are removed with the test.
class Loss : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "altlas_loss_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path fresh() {
    const fs::path folder = root_ / std::to_string(folders_++);
    fs::create_directories(folder);
    return folder;
  }
  // Copies the files as they are now to a folder of their own.
  fs::path picture(const fs::path& folder) {
    const fs::path out = fresh();
    for (const char* name : {"journal.db", "journal.db-wal", "journal.db.mark"})
      if (fs::exists(folder / name)) fs::copy_file(folder / name, out / name);
    return out;
  }
  static Result<std::unique_ptr<Store>> open(const fs::path& folder, bool accept_loss = false) {
    SqliteOptions options;
    options.path = (folder / "journal.db").string();
    options.accept_loss = accept_loss;
    return open_sqlite_store(options);
  }
  // Appends `commits` commits; each has one event of each of ten tasks.
  static void append(Store& store, int commits) {
    for (int i = 0; i < commits; ++i) {
      std::vector<TaskEvent> events;
      for (uint64_t task = 0; task < 10; ++task)
        events.push_back(event_of(task, i, TaskTokens{0, std::vector<int32_t>(100, i)}));
      ASSERT_TRUE(store.append(events).ok());
    }
  }
  static size_t count(Store& store) {
    size_t events = 0;
    EXPECT_TRUE(store
                    .replay([&](TaskEvent) {
                      ++events;
                      return Result<void>();
                    })
                    .ok());
    return events;
  }

  fs::path root_;
  int folders_ = 0;
};

TEST_F(Loss, WhatWasDurableAndIsGoneIsRefusedUnlessAccepted) {
  const fs::path live = fresh();
  auto store = open(live);
  ASSERT_TRUE(store.ok());
  append(**store, 20);
  const fs::path older = picture(live);
  append(**store, 20);
  const fs::path whole = picture(live);
  const uint64_t wal = fs::file_size(whole / "journal.db-wal");
  ASSERT_GT(wal, 60'000u);
  const struct {
    const char* name;
    std::function<void(const fs::path&)> harm;
  } kCases[] = {
      {"the log is halved",
       [&](const fs::path& at) { fs::resize_file(at / "journal.db-wal", wal / 2); }},
      {"the log's last frame is torn",
       [&](const fs::path& at) { fs::resize_file(at / "journal.db-wal", wal - 1); }},
      {"the log is empty", [&](const fs::path& at) { fs::resize_file(at / "journal.db-wal", 0); }},
      {"the log is gone", [&](const fs::path& at) { fs::remove(at / "journal.db-wal"); }},
      {"a bit of the log's head", [&](const fs::path& at) { flip(at / "journal.db-wal", 20); }},
      {"a bit in the log's middle",
       [&](const fs::path& at) { flip(at / "journal.db-wal", wal / 2); }},
      {"a bit at the log's end", [&](const fs::path& at) { flip(at / "journal.db-wal", wal - 9); }},
      {"another log",
       [&](const fs::path& at) {
         fs::copy_file(older / "journal.db-wal", at / "journal.db-wal",
                       fs::copy_options::overwrite_existing);
       }},
      {"journal and log are gone",
       [&](const fs::path& at) {
         fs::remove(at / "journal.db");
         fs::remove(at / "journal.db-wal");
       }},
      {"the journal is gone", [&](const fs::path& at) { fs::remove(at / "journal.db"); }},
  };
  for (const auto& [name, harm] : kCases) {
    SCOPED_TRACE(name);
    const fs::path at = picture(whole);
    harm(at);
    const std::string left = read(at / "journal.db-wal");
    for (int i = 0; i < 2; ++i) {
      const auto refused = open(at);
      ASSERT_FALSE(refused.ok());
      EXPECT_NE(refused.error().message().find("events are lost"), std::string::npos)
          << refused.error().message();
      EXPECT_NE(refused.error().message().find("--accept-loss"), std::string::npos);
    }
    EXPECT_EQ(read(at / "journal.db-wal"), left) << "what is left is not touched";
    size_t kept = 0;
    {
      const auto accepted = open(at, /*accept_loss=*/true);
      ASSERT_TRUE(accepted.ok()) << accepted.error().message();
      kept = count(**accepted);
      EXPECT_LT(kept, 400u);
      append(**accepted, 1);
    }
    const auto again = open(at);
    ASSERT_TRUE(again.ok()) << again.error().message();
    EXPECT_EQ(count(**again), kept + 10);
  }
}

TEST_F(Loss, AJournalThatWasReplacedIsRefused) {
  const fs::path live = fresh(), other = fresh();
  {
    append(**open(live), 5);
    const auto store = open(other);
    for (int i = 0; i < 60; ++i)
      ASSERT_TRUE((*store)->append({{event_of(7, i, TaskTokens{0, {i}})}}).ok());
  }
  fs::copy_file(other / "journal.db", live / "journal.db", fs::copy_options::overwrite_existing);
  const auto refused = open(live);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("replaced by another"), std::string::npos)
      << refused.error().message();
  EXPECT_TRUE(open(live, /*accept_loss=*/true).ok());
  EXPECT_TRUE(open(live).ok());
}

TEST_F(Loss, NothingLostIsNeverRefused) {
  const fs::path live = fresh();
  auto store = open(live);
  ASSERT_TRUE(store.ok());
  append(**store, 10);
  const fs::path before = picture(live);
  append(**store, 10);
  const fs::path whole = picture(live);
  const struct {
    const char* name;
    std::function<void(const fs::path&)> change;
  } kCases[] = {
      {"killed between two commits", [](const fs::path&) {}},
      {"killed between the commit and its mark",
       [&](const fs::path& at) {
         fs::copy_file(before / "journal.db.mark", at / "journal.db.mark",
                       fs::copy_options::overwrite_existing);
       }},
      {"of a version without marks",
       [](const fs::path& at) { fs::remove(at / "journal.db.mark"); }},
      {"the mark never reached the disk",
       [](const fs::path& at) { fs::resize_file(at / "journal.db.mark", 0); }},
      {"one of the mark's places is torn",
       [](const fs::path& at) { flip(at / "journal.db.mark", 17); }},
      {"the other one is", [](const fs::path& at) { flip(at / "journal.db.mark", 4096 + 17); }},
      {"a commit that was not finished",
       [](const fs::path& at) {
         std::ofstream(at / "journal.db-wal", std::ios::app | std::ios::binary)
             << std::string(2000, 'x');
       }},
  };
  for (const auto& [name, change] : kCases) {
    SCOPED_TRACE(name);
    const fs::path at = picture(whole);
    change(at);
    const auto opened = open(at);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    EXPECT_EQ(count(**opened), 200u);
  }
}

// Goal: last events that are over and forgotten are no loss, and their numbers are not used again.
TEST_F(Loss, ForgottenEventsAreNotLost) {
  const fs::path at = fresh();
  std::vector<TaskId> all;
  for (uint64_t task = 0; task < 10; ++task) all.push_back(task_id(task));
  for (int i = 0; i < 3; ++i) {
    const auto store = open(at);
    ASSERT_TRUE(store.ok()) << store.error().message();
    EXPECT_EQ(count(**store), 0u);
    append(**store, 3);
    ASSERT_TRUE((*store)->forget(all).ok());
    const auto killed = open(picture(at));
    ASSERT_TRUE(killed.ok()) << killed.error().message();
    append(**store, 1);
    ASSERT_TRUE((*store)->forget(all).ok());
  }
  {
    append(**open(at), 1);
  }
  ASSERT_TRUE(open(at).ok());
  const auto mark = MarkFile::open((at / "journal.db.mark").string());
  ASSERT_TRUE(mark.ok());
  EXPECT_EQ(mark->last()->row, 130);
}

}  // namespace
}  // namespace altlas::journal
