#include "journal/store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "journal/codec.h"
#include "journal/sqlite_store.h"
#include "journal/test_events.h"

namespace altlas::journal {
namespace {

// A folder that is removed with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "altlas_journal_XXXXXX").string();
    ALTLAS_CHECK(::mkdtemp(pattern.data()) != nullptr, "a temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<TaskEvent> read_all(Store& store) {
  std::vector<TaskEvent> events;
  const Result<void> read = store.replay([&](TaskEvent event) -> Result<void> {
    events.push_back(std::move(event));
    return {};
  });
  EXPECT_TRUE(read.ok()) << read.error().message();
  return events;
}

std::vector<TimeUs> times(Store& store) {
  std::vector<TimeUs> out;
  for (const TaskEvent& event : read_all(store)) out.push_back(event.time);
  return out;
}

std::vector<TaskEvent> numbered(uint64_t task, TimeUs first, int count) {
  std::vector<TaskEvent> events;
  for (int i = 0; i < count; ++i) events.push_back(event_of(task, first + i, TaskTokens{0, {i}}));
  return events;
}

void run_sql(const std::string& path, const std::string& sql) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
  sqlite3_close(database);
}

// Both stores keep the same promises, so both run these tests.
class AnyStore : public ::testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Store> open() {
    if (!GetParam()) return open_memory_store();
    return open_sqlite_store(folder_.file("journal.sqlite")).value();
  }
  TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Stores, AnyStore, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Sqlite" : "Memory"; });

TEST_P(AnyStore, ReplaysInOrder) {
  const auto store = open();
  ASSERT_TRUE(store->append(numbered(1, 0, 3)).ok());
  ASSERT_TRUE(store->append(numbered(2, 3, 2)).ok());
  ASSERT_TRUE(store->append({}).ok());
  ASSERT_TRUE(store->append(numbered(1, 5, 1)).ok());
  EXPECT_EQ(times(*store), (std::vector<TimeUs>{0, 1, 2, 3, 4, 5}));
}

TEST_P(AnyStore, VisitorsErrorEndsTheReplay) {
  const auto store = open();
  ASSERT_TRUE(store->append(numbered(1, 0, 3)).ok());
  int seen = 0;
  const Result<void> got = store->replay([&](TaskEvent) -> Result<void> {
    return ++seen == 2 ? Result<void>(not_found("enough")) : Result<void>();
  });
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().message(), "enough");
  EXPECT_EQ(seen, 2);
  EXPECT_TRUE(store->append(numbered(1, 3, 1)).ok()) << "no lock is left behind";
}

// Goal: only the named tasks go, before and after the rows are known. Method: interleave, forget
// twice, append between.
TEST_P(AnyStore, ForgetsTasks) {
  const auto store = open();
  ASSERT_TRUE(store->append(numbered(1, 0, 2)).ok());
  ASSERT_TRUE(store->append(numbered(2, 2, 2)).ok());
  ASSERT_TRUE(store->append(numbered(1, 4, 1)).ok());
  const TaskId first[] = {task_id(1), task_id(99)};
  ASSERT_TRUE(store->forget(first).ok());
  EXPECT_EQ(times(*store), (std::vector<TimeUs>{2, 3}));
  ASSERT_TRUE(store->append(numbered(3, 5, 2)).ok());
  ASSERT_TRUE(store->append(numbered(2, 7, 1)).ok());
  const TaskId second[] = {task_id(2)};
  ASSERT_TRUE(store->forget(second).ok());
  EXPECT_EQ(times(*store), (std::vector<TimeUs>{5, 6}));
}

TEST_P(AnyStore, KeepsValues) {
  const auto store = open();
  EXPECT_EQ(store->get_value("count").error().code(), ErrorCode::kNotFound);
  ASSERT_TRUE(store->put_value("count", "1").ok());
  ASSERT_TRUE(store->put_value("count", std::string("2\0x", 3)).ok());
  ASSERT_TRUE(store->put_value("empty", "").ok());
  EXPECT_EQ(store->get_value("count").value(), std::string("2\0x", 3));
  EXPECT_EQ(store->get_value("empty").value(), "");
}

TEST(SqliteStore, SurvivesReopening) {
  const TemporaryFolder folder;
  const std::string path = folder.file("journal.sqlite");
  {
    const auto store = open_sqlite_store(path).value();
    ASSERT_TRUE(store->append(numbered(1, 0, 5)).ok());
    ASSERT_TRUE(store->put_value("count", "7").ok());
  }
  const auto store = open_sqlite_store(path).value();
  EXPECT_EQ(times(*store), (std::vector<TimeUs>{0, 1, 2, 3, 4}));
  EXPECT_EQ(store->get_value("count").value(), "7");
}

TEST(SqliteStore, SecondOpenerIsToldThePid) {
  const TemporaryFolder folder;
  const std::string path = folder.file("journal.sqlite");
  const auto store = open_sqlite_store(path).value();
  const auto second = open_sqlite_store(path);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kConflict);
  EXPECT_NE(
      second.error().message().find("data directory in use by pid " + std::to_string(::getpid())),
      std::string::npos)
      << second.error().message();
  EXPECT_TRUE(store->append(numbered(1, 0, 1)).ok());
}

// Goal: without the lock file (as with another program, or a custom VFS) SQLite's own lock still
// keeps a second process out.
TEST(SqliteStore, SqliteLockKeepsOthersOut) {
  const TemporaryFolder folder;
  const std::string path = folder.file("journal.sqlite");
  const auto store = open_sqlite_store(path).value();
  ASSERT_TRUE(store->append(numbered(1, 0, 1)).ok());
  const auto second = open_sqlite_store(path, "unix");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kConflict) << second.error().message();
}

// Goal: a path that somebody else prepared is neither followed nor overwritten, and others can't
// read what is made. Method: a link, a second name and a pipe at every name that the store opens.
TEST(SqliteStore, TakesNoPlaceOfOthers) {
  for (const char* suffix : {"", ".lock", "-wal"}) {
    for (const int kind : {0, 1, 2}) {
      SCOPED_TRACE(std::string(suffix) + " " + std::to_string(kind));
      const TemporaryFolder folder;
      const std::string path = folder.file("journal.sqlite"), place = path + suffix,
                        victim = folder.file("victim");
      std::ofstream(victim) << "kept";
      if (kind == 0) ASSERT_EQ(::symlink(victim.c_str(), place.c_str()), 0);
      if (kind == 1) ASSERT_EQ(::link(victim.c_str(), place.c_str()), 0);
      if (kind == 2) ASSERT_EQ(::mkfifo(place.c_str(), 0600), 0);
      EXPECT_FALSE(open_sqlite_store(path).ok());
      std::string text;
      std::ifstream(victim) >> text;
      EXPECT_EQ(text, "kept");
    }
  }
  const TemporaryFolder folder;
  const std::string path = folder.file("journal.sqlite");
  ASSERT_EQ(::chmod(folder.file(".").c_str(), 01777), 0);
  EXPECT_EQ(open_sqlite_store(path).error().code(), ErrorCode::kInvalid) << "others may write";
  ASSERT_EQ(::chmod(folder.file(".").c_str(), 0700), 0);
  std::ofstream(path).flush();
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);  // An earlier version made files with this mode.
  const mode_t before = ::umask(0);
  const auto store = open_sqlite_store(path).value();
  ASSERT_TRUE(store->append(numbered(1, 0, 3)).ok());
  ::umask(before);
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.file("."))) {
    struct stat info = {};
    ASSERT_EQ(::lstat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 3u) << "journal, its log and the lock";
}

TEST(SqliteStore, RefusesOtherFiles) {
  const TemporaryFolder folder;
  const std::string text = folder.file("text"), other = folder.file("other"),
                    newer = folder.file("newer");
  std::ofstream(text) << std::string(8192, 'x');
  EXPECT_EQ(open_sqlite_store(text).error().code(), ErrorCode::kInvalid);
  run_sql(other, "CREATE TABLE t(x)");
  const auto foreign = open_sqlite_store(other);
  ASSERT_FALSE(foreign.ok());
  EXPECT_EQ(foreign.error().code(), ErrorCode::kInvalid);
  EXPECT_NE(foreign.error().message().find("not a journal of altlas"), std::string::npos);
  {
    ASSERT_TRUE(open_sqlite_store(newer).ok());
  }
  run_sql(newer, "PRAGMA user_version=7");
  const auto version = open_sqlite_store(newer);
  ASSERT_FALSE(version.ok());
  EXPECT_NE(version.error().message().find("has version 7, this altlas reads version 1"),
            std::string::npos);
  const auto nowhere = open_sqlite_store(folder.file("no/such/folder"));
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().code(), ErrorCode::kIo);
}

TEST(SqliteStore, CorruptRowIsNamed) {
  const TemporaryFolder folder;
  const std::string path = folder.file("journal.sqlite");
  {
    ASSERT_TRUE(open_sqlite_store(path).value()->append(numbered(1, 0, 5)).ok());
  }
  run_sql(path, "UPDATE event SET payload = zeroblob(length(payload)) WHERE row = 3");
  const auto store = open_sqlite_store(path).value();
  const Result<void> got = store->replay([](TaskEvent) { return Result<void>(); });
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), ErrorCode::kInvalid);
  EXPECT_NE(got.error().message().find("row 3: payload of version 0"), std::string::npos)
      << got.error().message();
}

// Goal: damage anywhere in the file ends in an error or in intact events, never in a crash or a
// changed event. Method: 64 bytes are overwritten at every 997th byte of a small journal, one place
// at a time.
TEST(SqliteStore, DamagedFileNeverLies) {
  const TemporaryFolder folder;
  const std::string path = folder.file("journal.sqlite");
  {
    ASSERT_TRUE(open_sqlite_store(path).value()->append(numbered(1, 0, 400)).ok());
  }
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  ASSERT_GT(bytes.size(), 16384u);
  int refused = 0;
  for (size_t place = 0; place + 64 < bytes.size(); place += 997) {
    std::string damaged = bytes;
    for (size_t i = 0; i < 64; ++i)
      damaged[place + i] = static_cast<char>(damaged[place + i] ^ 0x5a);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << damaged;
    auto store = open_sqlite_store(path);
    if (!store.ok()) {
      ++refused;
      continue;
    }
    TimeUs next = 0;
    const Result<void> read = (*store)->replay([&](TaskEvent event) -> Result<void> {
      EXPECT_GE(event.time, next);
      next = event.time + 1;
      EXPECT_EQ(std::get<TaskTokens>(event.what).ids,
                std::vector<int32_t>{static_cast<int32_t>(event.time)});
      return {};
    });
    refused += !read.ok();
  }
  EXPECT_GT(refused, 10);
}

// Goal: a full disk is kIo, loses nothing, and is over once there is room. Method: a page limit;
// forget() makes room again.
TEST(SqliteStore, FullDiskIsAnErrorThatPasses) {
  const TemporaryFolder folder;
  SqliteOptions options;
  options.path = folder.file("journal.sqlite");
  options.pages_max = 64;
  const auto store = open_sqlite_store(options).value();
  size_t tasks = 0;
  Result<void> got;
  const auto big = [](uint64_t task) {
    std::vector<TaskEvent> events;
    for (int i = 0; i < 4; ++i)
      events.push_back(event_of(task, i, TaskTokens{0, std::vector<int32_t>(2000, -1)}));
    return events;
  };
  while (got.ok() && tasks < 1000) got = store->append(big(tasks++));
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), ErrorCode::kIo);
  EXPECT_NE(got.error().message().find("full"), std::string::npos) << got.error().message();
  EXPECT_EQ(read_all(*store).size(), (tasks - 1) * 4) << "all of an append or nothing";
  EXPECT_FALSE(store->append(big(tasks)).ok());
  const TaskId old[] = {task_id(0), task_id(1)};
  ASSERT_TRUE(store->forget(old).ok());
  ASSERT_TRUE(store->append(big(tasks)).ok());
  EXPECT_EQ(read_all(*store).size(), (tasks - 2) * 4);
}

// Goal: after kill -9 in the middle of appends, every answered append is there, and none is there
// in part. Method: a child appends groups of 7 and reports each answer through a pipe; it is killed
// after 1 to 40 answers.
TEST(SqliteStore, KillLosesNothingThatWasAnswered) {
  for (const int answers : {1, 3, 12, 40}) {
    const TemporaryFolder folder;
    const std::string path = folder.file("journal.sqlite");
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = open_sqlite_store(path);
      for (TimeUs group = 0; store.ok() && (*store)->append(numbered(1, group * 7, 7)).ok();
           ++group)
        if (::write(pipe_ends[1], "a", 1) != 1) break;
      ::_exit(1);
    }
    ::close(pipe_ends[1]);
    size_t answered = 0;
    char byte;
    while (answered < static_cast<size_t>(answers) && ::read(pipe_ends[0], &byte, 1) == 1)
      ++answered;
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    while (::read(pipe_ends[0], &byte, 1) == 1) ++answered;
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << status;
    ::close(pipe_ends[0]);
    ASSERT_GE(answered, static_cast<size_t>(answers));
    const auto store = open_sqlite_store(path).value();
    const std::vector<TimeUs> got = times(*store);
    EXPECT_GE(got.size(), answered * 7);
    EXPECT_LE(got.size(), (answered + 1) * 7);
    EXPECT_EQ(got.size() % 7, 0u);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], static_cast<TimeUs>(i));
  }
}

}  // namespace
}  // namespace altlas::journal
