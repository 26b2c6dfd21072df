// Files that survive a crash: written whole under another name, synchronised, then renamed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::server {

// All functions block; none is for an io thread.  Errors: kIo with what the system said.

// `path` holds `content` after a crash at any time, or what it held before.
Result<void> write_durable(const std::string& path, std::string_view content);
// As write_durable for what is at `from` already: synchronised, then moved to `to`.
Result<void> move_durable(const std::string& from, const std::string& to);
// Adds to the end, synchronised when it returns; makes the file where there is none.
Result<void> append_durable(const std::string& path, std::string_view content);
// Bytes [offset, offset + count), fewer at the end.
Result<std::string> read_part(const std::string& path, uint64_t offset, uint64_t count);
// A file held open: what it holds can be read to the end also once its name is gone.
class OpenFile {
 public:
  static Result<std::shared_ptr<const OpenFile>> open(const std::string& path);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  // As read_part.
  Result<std::string> read(uint64_t offset, uint64_t count) const;

 private:
  OpenFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;  // For what an error says.
  int descriptor_;
};
// Nothing happens where there is none.
Result<void> remove_durable(const std::string& path);
// With its parents, for this user only.
Result<void> make_folder(const std::string& path);

}  // namespace altlas::server
