// Folders and files that this user alone may change: what is made for the first time is closed to
// others, and what others made or could have put there is refused, never taken over.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas {

// Makes `path` (mode 0700) and the folders above it, or checks that the folder there is this user's
// and that only its owner may write to it; it is left as it is. `what` begins the messages
// ("--data-dir"). Errors: kInvalid for a folder of others, or that others may write to; kIo.
Result<void> make_private_folder(const std::string& path, std::string_view what);

// As make_private_folder() for a folder that is there; ok when nothing is.
Result<void> check_private_folder(const std::string& path, std::string_view what);

// open() with O_CLOEXEC and O_NOFOLLOW beside `flags`; what it makes has mode 0600. The file must
// be a regular one of this user with no second name, and is closed to others if it was not. Errors:
// kNotFound, kInvalid for another kind of file or another's, kIo.
Result<int> open_private_file(const std::string& path, int flags);

// A file that holds a secret must be this user's or root's, and nobody else may write to it.
// Errors: kInvalid; what can't be read at all is left to who reads it.
Result<void> check_secret_file(const std::string& path, std::string_view what);

}  // namespace altlas
