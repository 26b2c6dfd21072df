// Files that survive a crash: written whole under another name, synchronised, then renamed.
#pragma once

#include <cstdint>
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
// Nothing happens where there is none.
Result<void> remove_durable(const std::string& path);
// With its parents, for this user only.
Result<void> make_folder(const std::string& path);

}  // namespace altlas::server
