// Time: microseconds since the Unix epoch, handed into decisions; only edges read a Clock.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

namespace altlas {

// Microseconds since 1970-01-01 UTC. Plain integer, so that events, journals and hashes carry it as
// it is.
using TimeUs = int64_t;

inline constexpr int64_t kMillisecond = 1'000;
inline constexpr int64_t kSecond = 1'000'000;

// To the nearest microsecond; of settings, which are at most some years.
inline int64_t from_seconds(double seconds) {
  return std::llround(seconds * static_cast<double>(kSecond));
}

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back within a process: wall time at start plus elapsed steady time. Any thread.
  virtual TimeUs now() const = 0;
};

// From one time to a later one; 0 where the clock was set back between two starts of the server.
constexpr int64_t elapsed_us(TimeUs from, TimeUs until) { return until > from ? until - from : 0; }

// The machine's clock. Lives for the whole process.
const Clock& system_clock();

// "2026-01-31T12:00:00.123456Z".
std::string to_rfc3339(TimeUs time);

}  // namespace altlas
