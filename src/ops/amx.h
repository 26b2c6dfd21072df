// Whether this machine has AMX with int8 and bfloat16 tiles, and the operating system's leave to
// use them.
#pragma once

#include <string>

#include "base/result.h"

namespace altlas::ops {

// What this machine lacks for int8 tiles, in words; empty if nothing.
std::string amx_missing();
// For bfloat16 tiles beside them, and AVX-512 BF16, which rounds for them.
std::string amx_bf16_missing();
// Asks the kernel to lend this process the tile registers; may be called again. Errors:
// kUnsupported, with the kernel's reason.
Result<void> amx_request();

}  // namespace altlas::ops
