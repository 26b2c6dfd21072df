#include "server/random_hex.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <cstdint>

#include "base/check.h"

namespace altlas::server {

std::string random_hex() {
  uint64_t words[2] = {};
  // At most 256 bytes come whole, once the source was filled at boot (getrandom(2)).
  ALTLAS_CHECK(getrandom(words, sizeof words, 0) == sizeof words, "the random source answers");
  return fmt::format("{:016x}{:016x}", words[0], words[1]);
}

}  // namespace altlas::server
