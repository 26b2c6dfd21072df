#include "base/random.h"

#include <fmt/format.h>
#include <sys/random.h>

#include "base/check.h"

namespace altlas {

uint64_t random_bits() {
  uint64_t bits = 0;
  // getrandom() gives up to 256 bytes at once, once the kernel's source was filled at boot.
  ALTLAS_CHECK(::getrandom(&bits, sizeof bits, 0) == sizeof bits, "the kernel gives random bytes");
  return bits;
}

std::string random_hex() { return fmt::format("{:016x}{:016x}", random_bits(), random_bits()); }

}  // namespace altlas
