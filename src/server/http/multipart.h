// multipart/form-data bodies (RFC 7578), as file uploads send them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::server {

struct FormPart {
  std::string name;
  std::string filename;   // Empty where the part is a plain field.
  std::string_view body;  // Points into the parsed body.
};

// The parts of a body in their order. Pure.
// Errors: kUnsupported unless `content_type` is multipart/form-data with a boundary; kInvalid for a
// body that is not such parts, or has more than 32.
Result<std::vector<FormPart>> parse_multipart(std::string_view content_type, std::string_view body);

}  // namespace altlas::server
