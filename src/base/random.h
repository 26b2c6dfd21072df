// Numbers and names that can't be guessed, from the kernel's random source (getrandom(2)).
#pragma once

#include <cstdint>
#include <string>

namespace altlas {

// Any thread. Ends the process if the kernel has no random source.
uint64_t random_bits();
// 32 hexadecimal digits: 128 random bits. Any thread.
std::string random_hex();

}  // namespace altlas
