// A folder for what lives as long as the process, under TMPDIR; what a killed process left there is
// removed by the next one.
#pragma once

#include <string>

#include "base/result.h"

namespace altlas {

// Removed, with all that is in it, when it is destroyed.
class ScratchFolder {
 public:
  // Makes TMPDIR/altlas-<16 hex digits> (mode 0700; /tmp where TMPDIR is not set) and removes those
  // of this user whose process is gone. Errors: kIo, kInvalid for a TMPDIR that is no folder.
  static Result<ScratchFolder> make();
  ScratchFolder(ScratchFolder&& other) noexcept;
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();

  const std::string& path() const { return path_; }

 private:
  ScratchFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_;  // Descriptor of a file in it, locked while the process lives.
};

}  // namespace altlas
