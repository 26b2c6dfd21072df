// The journal's high-water mark: a small file beside it that names the last event that was durable,
// so that a journal which lost its end is noticed and not taken for whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace altlas::journal {

struct Mark {
  // The row of the last durable event; rows are counted from 1 and never used twice.
  int64_t row = 0;
  uint64_t hash = 0;  // The hash of that row.
  friend bool operator==(const Mark&, const Mark&) = default;
};

// Written after the commit that it tells of: a crash between the two, or a mark that did not reach
// the disk, leaves an older one, which the journal fulfils all the same. It is never synchronised
// but only sent on its way to the disk once a second: it costs a commit one short write.
class MarkFile {
 public:
  MarkFile() = default;
  MarkFile(MarkFile&& other) noexcept;
  MarkFile& operator=(MarkFile&& other) noexcept;
  ~MarkFile();
  // Makes the file where there is none.  Errors: kIo, kInvalid as open_private_file().
  static Result<MarkFile> open(const std::string& path);

  // The latest whole one; nothing in a new file, or one that is damaged.
  std::optional<Mark> last() const { return last_; }
  Result<void> write(const Mark& mark);

 private:
  explicit MarkFile(int fd) : fd_(fd) {}

  int fd_ = -1;
  std::optional<Mark> last_;
  // The number of the last one written; even and odd ones have places of their own.
  uint64_t number_ = 0;
  int64_t sent_us_ = 0;  // When it was last sent to the disk.
};

}  // namespace altlas::journal
