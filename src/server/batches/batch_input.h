// The input file of a batch: one request a line, checked before any of them runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::server {

// Where one request stands in the file.
struct BatchLine {
  uint64_t offset = 0;
  uint32_t size = 0;
  uint32_t number = 0;  // From 1.
};

struct BatchError {
  std::string code;
  std::string message;
  std::string param;  // Empty: none.
  uint32_t line = 0;  // 0: the whole file.
  friend bool operator==(const BatchError&, const BatchError&) = default;
};

struct BatchInput {
  std::vector<BatchLine> lines;    // Empty lines are left out.
  std::vector<BatchError> errors;  // The first kBatchErrorsMax.
};
inline constexpr size_t kBatchErrorsMax = 100;
inline constexpr size_t kCustomIdMax = 512;  // Characters.
// Routes whose requests a batch can hold.
inline constexpr std::string_view kBatchEndpoints[] = {"/v1/chat/completions", "/v1/completions",
                                                       "/v1/embeddings"};

struct BatchInputLimits {
  size_t lines_max = 50'000;
  size_t line_bytes_max = 8 << 20;
  size_t depth_max = 64;
};

// One line as it is run.
struct BatchRequest {
  std::string custom_id;
  std::string body;  // JSON object.
};
// {"custom_id", "method": "POST", "url": `endpoint`, "body": {…}}.  Errors: kInvalid with the
// field.
Result<BatchRequest> read_batch_request(std::string_view line, std::string_view endpoint,
                                        size_t depth_max);

// Pure; O(bytes log lines).
BatchInput check_batch_input(std::string_view content, std::string_view endpoint,
                             BatchInputLimits limits);

// Errors: kInvalid, field "endpoint", for a route that is none of kBatchEndpoints.
Result<void> check_batch_endpoint(std::string_view url);

}  // namespace altlas::server
