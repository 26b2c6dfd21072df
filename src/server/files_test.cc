// Goal: what files and batches say is kept is there after a crash at any place, nothing is counted
// twice, and limits hold. Method: folders as a crash leaves them, opened again.
#include "server/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "server/batch_json.h"
#include "server/batches.h"
#include "server/durable_file.h"

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
  // What a crash leaves: content without a description, a description without content, halves.
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
  FileLimits limits{.file_bytes_max = 10, .files_max = 2, .total_bytes_max = 15};
  auto files = Files::open(folder / "files", limits);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ((*files)->create(info("a"), std::string(11, 'x')).error().code(), ErrorCode::kTooLarge);
  EXPECT_TRUE((*files)->create(info("a"), std::string(10, 'x')).ok());
  EXPECT_EQ((*files)->create(info("a"), std::string(6, 'x')).error().code(), ErrorCode::kBusy);
  EXPECT_TRUE((*files)->create(info("a"), "").ok());
  EXPECT_EQ((*files)->create(info("a"), "").error().code(), ErrorCode::kBusy);
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
          desk.batches->add_result(id, line, true, answer_line(made, line, "c", 200, "r", "{}"))
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
      desk.batches->add_result(id, 4, true, answer_line(ended, 4, "e", 200, "r", R"({"a": 1})"))
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

// A crash between the results' moving and the state's writing: finishing again changes nothing.
TEST(Batches, FinishedTwice) {
  const Folder folder;
  std::string id, output;
  {
    Desk desk(folder);
    Batch made = desk.batches->create(batch()).value();
    id = made.id;
    ASSERT_TRUE(
        desk.batches->add_result(id, 1, true, answer_line(made, 1, "c", 200, "r", "{}")).ok());
    made = *desk.batches->find(id);
    made.finalizing = 7;
    made.status = BatchStatus::kFinalizing;
    ASSERT_TRUE(desk.batches->update(made).ok());
    output = desk.batches->finish(made)->output_file;
    ASSERT_TRUE(desk.batches->update(made).ok());  // The state is as it was before.
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
