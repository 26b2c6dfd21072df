// Where adapters may be loaded from at run time.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace altlas::server {

// The file or folder that `path` names, links resolved: absolute, or relative to one of `folders`;
// it must lie below one of them.  Errors: kForbidden where `folders` is empty; kInvalid, field
// "lora_path", for one that is elsewhere, whether it is there or not; kNotFound for one that is not
// there.
Result<std::string> adapter_path(const std::string& path, const std::vector<std::string>& folders);

}  // namespace altlas::server
