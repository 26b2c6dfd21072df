// WrongKeys: who tries keys, so that guessing is slow and seen.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/clock.h"

namespace altlas::server {

// Any thread. Remembers the addresses of the last wrong keys, a bounded number of them.
class WrongKeys {
 public:
  struct Verdict {
    int64_t count = 0;  // Wrong keys of this address, a minute without one forgets them.
    TimeUs delay = 0;   // The answer waits so long: from the fourth on, doubling, at most 2 s.
    bool log = false;   // At the first, and whenever the count has grown tenfold.
  };
  // A request of `address` had a wrong key at `now`.
  Verdict note(const std::string& address, TimeUs now);

 private:
  struct Tries {
    int64_t count = 0;
    TimeUs last = 0;
  };
  std::mutex mutex_;
  std::unordered_map<std::string, Tries> tries_;
};

}  // namespace altlas::server
