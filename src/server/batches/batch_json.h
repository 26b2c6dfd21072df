// Batches and files as JSON: what the API shows, what the folder holds, and the lines of results.
#pragma once

#include <boost/json/fwd.hpp>

#include <string>
#include <string_view>

#include "server/batches/batches.h"
#include "server/batches/bodies.h"
#include "server/batches/files.h"
#include "server/json_reader.h"

namespace altlas::server {

// The time that a file is kept; 0: until it is deleted.
TimeUs lifetime_of(const std::optional<ExpiresAfter>& expires);

boost::json::object file_to_json(const FileInfo& file);
boost::json::object batch_to_json(const Batch& batch);

// The state as it is stored.
std::string batch_to_state(const Batch& batch);
Result<Batch> batch_from_state(std::string_view text);

struct LineAnswer {
  int status = 200;
  std::string_view request_id;
  std::string_view body;     // JSON.
  std::string_view ignored;  // What the request asked for and was left out.
};
// One line of an output file.
std::string answer_line(const Batch& batch, uint32_t line, std::string_view custom_id,
                        const LineAnswer& answer);
// One line of an error file for a request that never ran to an answer.
std::string error_line(const Batch& batch, uint32_t line, std::string_view custom_id,
                       std::string_view code, std::string_view message);

}  // namespace altlas::server
