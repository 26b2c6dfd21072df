// Names that can't be guessed.
#pragma once

#include <string>

namespace altlas::server {

// 32 hex digits from the machine's random source. Any thread.
std::string random_hex();

}  // namespace altlas::server
