// Goal: what files and batches report as kept is there after a crash at any point, nothing is
// counted twice, and limits hold. Method: folders as a crash leaves them, opened again.
#include "server/batches/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "server/batches/batch_json.h"
#include "server/batches/batches.h"
#include "server/batches/durable_file.h"
#include "server/body/read.h"

namespace altlas::server {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() : path_(fs::path(::testing::TempDir()) / ("altlas-files-" + std::to_string(next_++))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  static inline int next_ = ::getpid() * 1000;
  fs::path path_;
};

void write(const std::string& path, std::string_view text) { std::ofstream(path) << text; }

FileInfo info(std::string_view name) {
  FileInfo out;
  out.owner = "ann";
  out.filename = name;
  out.purpose = "batch";
  out.created = 5 * kSecond;
  return out;
}

TEST(Files, KeptOverRestarts) {
  const Folder folder;
  std::string id;
  {
    auto files = Files::open(folder / "files", {});
    ASSERT_TRUE(files.ok());
    const auto made = (*files)->create(info("a\"b.jsonl"), "hello");
    ASSERT_TRUE(made.ok()) << made.error().message();
    id = made->id;
    EXPECT_EQ((*files)->bytes(), 5u);
  }
  // A crash may leave content without a description, a description without content, and halves of
  // files.
  write(folder / "files/file-1.data", "x");
  write(folder / "files/file-2.json", R"({"id":"file-2","bytes":3})");
  write(folder / "files/file-3.json", R"({"id":"fi)");
  write(folder / "files/file-4.json.tmp", "{}");
  auto files = Files::open(folder / "files", {});
  ASSERT_TRUE(files.ok());
  ASSERT_EQ((*files)->list().size(), 1u);
  const auto found = (*files)->find(id);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->filename, "a\"b.jsonl");
  EXPECT_EQ(found->owner, "ann");
  EXPECT_EQ((*files)->read(id, 1, 3).value(), "ell");
  EXPECT_EQ((*files)->read(id, 9, 3).value(), "");
  EXPECT_TRUE((*files)->remove(id).ok());
  EXPECT_EQ((*files)->find(id).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ((*files)->bytes(), 0u);
  EXPECT_TRUE(fs::is_empty(folder / "files"));
}

TEST(Files, Limits) {
  const Folder folder;
  FileLimits limits{.file_bytes_max = 10, .files_max = 3, .total_bytes_max = 20};
  auto files = Files::open(folder / "files", limits);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ((*files)->create(info("a"), std::string(11, 'x')).error().code(), ErrorCode::kTooLarge);
  auto small = Files::open(folder / "small", {.file_bytes_max = 30, .total_bytes_max = 15});
  EXPECT_EQ((*small)->create(info("a"), std::string(16, 'x')).error().code(), ErrorCode::kTooLarge)
      << "it will never fit";
  EXPECT_TRUE((*files)->create(info("a"), std::string(10, 'x')).ok());
  EXPECT_EQ((*files)->create(info("a"), std::string(6, 'x')).error().code(), ErrorCode::kBusy);
  EXPECT_TRUE((*files)->create(info("a"), "").ok());
  EXPECT_EQ((*files)->create(info("a"), "").error().code(), ErrorCode::kBusy);
}

// Goal: no owner's files keep others from having any. Method: owners that take all they get, in
// files and in bytes, one after another; a new owner still has room, and what is deleted is free
// again.
TEST(Files, OneOwnerLeavesRoomForOthers) {
  for (const size_t size : {0, 1000}) {
    const Folder folder;
    auto files = Files::open(folder / "files", {.files_max = 200, .total_bytes_max = 200'000});
    ASSERT_TRUE(files.ok());
    const std::string content(size, 'x');
    const auto send = [&](const std::string& owner) {
      FileInfo made = info("a");
      made.owner = owner;
      return (*files)->create(made, content);
    };
    const auto take_all = [&](const std::string& owner) {
      int count = 0;
      while (send(owner).ok()) ++count;
      return count;
    };
    EXPECT_EQ(take_all("mallory"), 150);
    EXPECT_EQ(take_all("eve"), 37);
    EXPECT_EQ(take_all("trudy"), 9);
    EXPECT_TRUE(send("ada").ok());
    EXPECT_EQ(send("mallory").error().code(), ErrorCode::kBusy);
    const auto reopened = Files::open(folder / "files", {.files_max = 200, .total_bytes_max = 200'000});
    EXPECT_EQ((*reopened)->bytes_of("mallory"), 150 * size);
    for (const FileInfo& file : (*files)->list())
      if (file.owner == "mallory") EXPECT_TRUE((*files)->remove(file.id).ok());
    EXPECT_EQ((*files)->bytes_of("mallory"), 0u);
    EXPECT_GT(take_all("ada"), 30);
  }
}

// Goal: a file is there until its time and not after it, and a file that is being read stays until
// it was. Method: files with several times, asked for at each.
TEST(Files, ExpireAtTheirTime) {
  const Folder folder;
  auto files = Files::open(folder / "files", {});
  ASSERT_TRUE(files.ok());
  const auto none_in_use = [](std::string_view) { return false; };
  std::map<TimeUs, std::string> ids;
  for (const TimeUs expires : {0, 10, 20, 30}) {
    FileInfo made = info("a");
    made.expires = expires;
    ids[expires] = (*files)->create(made, "text")->id;
  }
  EXPECT_EQ((*files)->next_expiry(), 10);
  (*files)->expire(9, none_in_use);
  EXPECT_EQ((*files)->list().size(), 4u);
  (*files)->expire(10, none_in_use);
  EXPECT_EQ((*files)->find(ids[10]).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ((*files)->bytes(), 12u);
  files = Files::open(folder / "files", {});  // What is left is known after a restart.
  EXPECT_EQ((*files)->next_expiry(), 20);
  (*files)->expire(25, [&](std::string_view id) { return id == ids[20]; });
  EXPECT_TRUE((*files)->find(ids[20]).ok()) << "a batch still reads it";
  (*files)->expire(25, none_in_use);
  EXPECT_FALSE((*files)->find(ids[20]).ok());
  (*files)->expire(INT64_MAX, none_in_use);
  ASSERT_EQ((*files)->list().size(), 1u);
  EXPECT_EQ((*files)->list()[0].id, ids[0]);
  EXPECT_EQ((*files)->next_expiry(), INT64_MAX);
}

// Goal: whoever has begun to read a file gets all of it. Method: the file is removed, or expires,
// between two pieces.
TEST(Files, ContentStaysForItsReader) {
  const Folder folder;
  auto files = Files::open(folder / "files", {});
  ASSERT_TRUE(files.ok());
  for (const bool expires : {false, true}) {
    FileInfo made = info("a");
    made.expires = 10;
    const std::string id = (*files)->create(made, "0123456789")->id;
    const auto content = *(*files)->open_content(id);
    EXPECT_EQ(*content->read(0, 4), "0123");
    if (expires)
      (*files)->expire(10, [](std::string_view) { return false; });
    else
      EXPECT_TRUE((*files)->remove(id).ok());
    EXPECT_FALSE((*files)->open_content(id).ok());
    EXPECT_EQ(*content->read(4, 100), "456789");
    EXPECT_EQ(*content->read(10, 1), "");
  }
}

// Goal: a lifetime is taken as it is meant, or refused with its place. Method: a table.
TEST(Files, Lifetimes) {
  struct Case {
    const char* json;
    TimeUs lifetime;
    const char* field;  // The error's field; empty: there is no error.
  };
  const Case cases[] = {
      {R"({})", 0, ""},
      {R"({"keep": null})", 0, ""},
      {R"({"keep": {"anchor": "created_at", "seconds": 3600}})", 3600 * kSecond, ""},
      {R"({"keep": {"anchor": "created_at", "seconds": 2592000}})", 2592000 * kSecond, ""},
      {R"({"keep": {"anchor": "created_at", "seconds": 2592001}})", 0, "keep.seconds"},
      {R"({"keep": {"anchor": "created_at", "seconds": 0}})", 0, "keep.seconds"},
      {R"({"keep": {"anchor": "created_at", "seconds": "1h"}})", 0, "keep.seconds"},
      {R"({"keep": {"anchor": "created_at"}})", 0, "keep.seconds"},
      {R"({"keep": {"anchor": "last_active_at", "seconds": 60}})", 0, "keep.anchor"},
      {R"({"keep": {"seconds": 60}})", 0, "keep.anchor"},
      {R"({"keep": 60})", 0, "keep"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.json);
    const boost::json::object body = boost::json::parse(one.json).as_object();
    JsonReader reader(body);
    std::optional<ExpiresAfter> expires;
    read_value(reader, "keep", expires, kExpiresAfterField, config::Config());
    const TimeUs lifetime = lifetime_of(expires);
    EXPECT_EQ(reader.status().ok(), *one.field == '\0');
    if (reader.status().ok())
      EXPECT_EQ(lifetime, one.lifetime);
    else
      EXPECT_EQ(reader.status().error().field(), one.field);
  }
}

Batch batch() {
  Batch out;
  out.owner = "ann";
  out.endpoint = "/v1/completions";
  out.input_file = "file-in";
  out.window = "24h";
  out.metadata = {{"k", "v"}};
  out.status = BatchStatus::kInProgress;
  out.created = 1;
  out.expires = 2;
  return out;
}

struct Desk {
  explicit Desk(const Folder& folder, size_t batches_max = 10)
      : files(Files::open(folder / "files", {}).value()),
        batches(Batches::open(folder / "batches", *files, batches_max).value()) {}
  std::unique_ptr<Files> files;
  std::unique_ptr<Batches> batches;
};

TEST(Batches, ResultsAreCountedOnce) {
  const Folder folder;
  std::string id;
  {
    Desk desk(folder);
    const Batch made = desk.batches->create(batch()).value();
    id = made.id;
    for (const uint32_t line : {3u, 1u, 3u})
      ASSERT_TRUE(
          desk.batches->add_result(id, line, true, answer_line(made, line, "c", {200, "r", "{}"}))
              .ok());
    ASSERT_TRUE(desk.batches->add_result(id, 2, false, error_line(made, 2, "d", "x", "y")).ok());
    EXPECT_EQ(desk.batches->find(id)->done, 2u);
  }
  // The process died in the middle of a line.
  std::ofstream(folder / ("batches/" + id + ".output"), std::ios::app)
      << R"({"id":")" << result_id(id, 4) << R"(","custom_id":"e","resp)";
  Desk desk(folder);
  EXPECT_EQ(desk.batches->lines_done(id), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(desk.batches->find(id)->done, 2u);
  EXPECT_EQ(desk.batches->find(id)->faulty, 1u);
  EXPECT_TRUE(desk.batches->uses_file("file-in"));
  Batch ended = *desk.batches->find(id);
  ASSERT_TRUE(
      desk.batches->add_result(id, 4, true, answer_line(ended, 4, "e", {200, "r", R"({"a": 1})"}))
          .ok());
  ended = *desk.batches->find(id);
  ended.finalizing = 7;
  ended.status = BatchStatus::kCompleted;
  const Batch finished = desk.batches->finish(ended).value();
  EXPECT_FALSE(desk.batches->uses_file("file-in"));
  const std::string output = desk.files->read(finished.output_file, 0, 1 << 20).value();
  EXPECT_EQ(std::ranges::count(output, '\n'), 3);
  EXPECT_NE(
      output.find(
          R"("custom_id":"e","response":{"status_code":200,"request_id":"r","body":{"a": 1}})"),
      std::string::npos)
      << output;
  EXPECT_EQ(desk.files->find(finished.error_file)->owner, "ann");
}

// Goal: after a crash between moving the results and writing the state, finishing again changes
// nothing.
TEST(Batches, FinishedTwice) {
  const Folder folder;
  std::string id, output;
  {
    Desk desk(folder);
    Batch made = desk.batches->create(batch()).value();
    id = made.id;
    ASSERT_TRUE(
        desk.batches->add_result(id, 1, true, answer_line(made, 1, "c", {200, "r", "{}"})).ok());
    made = *desk.batches->find(id);
    made.finalizing = 7;
    made.status = BatchStatus::kFinalizing;
    ASSERT_TRUE(desk.batches->update(made).ok());
    output = desk.batches->finish(made)->output_file;
    ASSERT_TRUE(desk.batches->update(made).ok());  // The state is the earlier one.
  }
  Desk desk(folder);
  EXPECT_EQ(desk.batches->find(id)->done, 1u) << "counts stand in the state from here on";
  const Batch again = desk.batches->finish(*desk.batches->find(id)).value();
  EXPECT_EQ(again.output_file, output);
  EXPECT_EQ(again.error_file, "");
  EXPECT_EQ(desk.files->list().size(), 1u);
}

TEST(Batches, StateComesBackWhole) {
  Batch full = batch();
  full.id = "batch_1";
  full.total = 9;
  full.errors = {{"code", "mess\"age", "", 0}, {"c", "m", "body.x", 12}};
  full.cancelled = 77;
  full.output_lifetime = 3;
  const auto back = batch_from_state(batch_to_state(full));
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(batch_to_state(*back), batch_to_state(full));
  EXPECT_EQ(back->errors, full.errors);
  EXPECT_FALSE(batch_from_state("{}").ok());
  EXPECT_FALSE(batch_from_state("nonsense").ok());
}

TEST(Batches, OldestEndedGoes) {
  const Folder folder;
  Desk desk(folder, 2);
  Batch first = desk.batches->create(batch()).value();
  ASSERT_TRUE(desk.batches->create(batch()).ok());
  EXPECT_EQ(desk.batches->create(batch()).error().code(), ErrorCode::kBusy);
  first.status = BatchStatus::kFailed;
  ASSERT_TRUE(desk.batches->update(first).ok());
  EXPECT_TRUE(desk.batches->create(batch()).ok());
  EXPECT_FALSE(desk.batches->find(first.id).ok());
}

// Goal: one owner's many batches neither remove another's nor keep another from making one.
TEST(Batches, EachOwnerLosesItsOwn) {
  const Folder folder;
  Desk desk(folder, 8);
  const auto make = [&](const std::string& owner, bool over, TimeUs created) {
    Batch one = batch();
    one.owner = owner;
    one.created = created;
    auto made = desk.batches->create(one);
    if (made.ok() && over) {
      made->status = BatchStatus::kFailed;
      EXPECT_TRUE(desk.batches->update(*made).ok());
    }
    return made;
  };
  const std::string anns = make("ann", true, 1)->id;
  for (TimeUs created = 2; created < 50; ++created) ASSERT_TRUE(make("eve", true, created).ok());
  EXPECT_TRUE(desk.batches->find(anns).ok());
  EXPECT_EQ(desk.batches->list().size(), 7u);
  while (make("eve", false, 100).ok()) {
  }
  EXPECT_EQ(make("eve", false, 100).error().code(), ErrorCode::kBusy);
  EXPECT_TRUE(make("bob", false, 101).ok());
  EXPECT_TRUE(desk.batches->find(anns).ok());
}

TEST(Batches, Window) {
  EXPECT_EQ(parse_window("24h").value(), 86400 * kSecond);
  EXPECT_EQ(parse_window("90m").value(), 5400 * kSecond);
  EXPECT_EQ(parse_window("7d").value(), 7 * 86400 * kSecond);
  for (const char* wrong :
       {"", "h", "0h", "-1h", "24", "24 h", "8d", "99999999999999999999h", "1w"})
    EXPECT_EQ(parse_window(wrong).error().field(), "completion_window") << wrong;
}

}  // namespace
}  // namespace altlas::server
