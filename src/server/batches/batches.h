// Batches: what /v1/batches knows, in a folder: ID.json is a batch's state, ID.output and ID.errors
// its results so far, a line each.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "server/batches/batch_input.h"
#include "server/batches/files.h"

namespace altlas::server {

enum class BatchStatus : uint8_t {
  kValidating,
  kFailed,  // The input is wrong, or the files' room is used up.
  kInProgress,
  kFinalizing,
  kCompleted,
  kExpired,
  kCancelling,
  kCancelled,
};
std::string_view to_string(BatchStatus status);
bool is_over(BatchStatus status);

struct Batch {
  std::string id;  // "batch_…".
  std::string owner;
  std::string endpoint;
  std::string input_file;
  std::string window;  // "24h".
  std::vector<std::pair<std::string, std::string>> metadata;
  BatchStatus status = BatchStatus::kValidating;
  TimeUs created = 0, in_progress = 0, expires = 0, finalizing = 0, completed = 0, failed = 0,
         expired = 0, cancelling = 0, cancelled = 0;  // 0: not yet.
  uint32_t total = 0, done = 0, faulty = 0;           // Requests: all, answered 200, others.
  std::string output_file, error_file;                // Empty: none.
  TimeUs output_lifetime = 0;                         // From their making; 0: for ever.
  std::vector<BatchError> errors;
};

// "24h", "90m", "30s", "2d": up to 7 days.  Errors: kInvalid, field completion_window.
Result<TimeUs> parse_window(std::string_view text);

// Blocks on the disk; one thread at a time, the one of `files`. What a call returned is there after
// a crash.
class Batches {
 public:
  // Reads what is in `folder`, which is made if absent, and puts results that a crash left between
  // here and `files` where they belong.  `files` outlives it.  Errors: kIo.
  static Result<std::unique_ptr<Batches>> open(std::string folder, Files& files,
                                               size_t batches_max);

  // Gives `batch` an id. The oldest ended batch goes where there would be too many.
  // Errors: kBusy when none has ended, kIo.
  Result<Batch> create(Batch batch);
  Result<Batch> find(std::string_view id) const;  // Errors: kNotFound.
  std::vector<Batch> list() const;                // Newest first.
  // Stores the new state.
  Result<void> update(const Batch& batch);
  // Adds one result line (without its line end); the counts are in find(). A line that is there
  // already is not added again. Errors: kBusy when the files' room is used up, kIo.
  Result<void> add_result(std::string_view id, uint32_t line, bool ok, std::string_view text);
  // Input lines whose results are there, sorted.
  std::vector<uint32_t> lines_done(std::string_view id) const;
  // Results become files of `files`; `batch.status` and its time are stored as they are given.
  Result<Batch> finish(Batch batch);
  // True while a batch that is not over reads the file.
  bool uses_file(std::string_view file) const;

 private:
  struct Entry {
    Batch batch;
    std::vector<bool> done;  // By input line.
    uint64_t bytes = 0;      // The bytes of results that are not files yet.
  };
  Batches(std::string folder, Files& files, size_t batches_max)
      : folder_(std::move(folder)), files_(files), batches_max_(batches_max) {}
  std::string path_of(std::string_view id, std::string_view ending) const;
  Result<void> restore(const std::string& path);
  Result<void> count_results(Entry& entry, bool ok);
  Result<std::string> hand_over(const Batch& batch, bool ok);
  Result<void> make_room(const std::string& owner);

  std::string folder_;
  Files& files_;
  size_t batches_max_;
  std::map<std::string, Entry, std::less<>> entries_;
  uint64_t bytes_ = 0;
};

// The id that a result line carries; also how a restart finds out what is done.
std::string result_id(std::string_view batch, uint32_t line);

}  // namespace altlas::server
