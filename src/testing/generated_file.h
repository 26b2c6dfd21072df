// Generated pages that are committed: tests compare them, or write them anew.
#pragma once

#include <string>

namespace altlas::testing {

// Fails unless the file at `path`, relative to the source tree `root`, holds `want`. With the
// environment variable ALTLAS_UPDATE_DOCS set, the file is written instead.
void expect_generated_file(const std::string& root, const std::string& path,
                           const std::string& want);

}  // namespace altlas::testing
