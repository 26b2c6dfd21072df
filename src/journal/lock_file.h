// A lock against a second process in the same data directory, which names the process that has it.
#pragma once

#include <string>

#include "base/result.h"

namespace altlas::journal {

// Held from acquire() to destruction, or to the end of the process however it ends (flock).
class LockFile {
 public:
  LockFile() = default;
  LockFile(LockFile&& other) noexcept;
  LockFile& operator=(LockFile&& other) noexcept;
  ~LockFile();
  // Errors: kConflict "data directory in use by pid N", kIo.
  static Result<LockFile> acquire(const std::string& path);

 private:
  explicit LockFile(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace altlas::journal
