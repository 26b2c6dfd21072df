// UsageBook: what each key used, by hours, for the last 30 days.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace altlas::control {

struct Usage {
  uint64_t completed = 0, failed = 0, canceled = 0;  // Requests by their end.
  uint64_t prompt_tokens = 0, generated_tokens = 0;  // Tokens of requests that ended.
  // A device's time is shared out evenly among the requests that run on it.
  double device_seconds = 0;
  double cost_usd = 0;          // The price of device seconds whose device has a known price.
  double unpriced_seconds = 0;  // The others.
  void add(const Usage& other);
  friend bool operator==(const Usage&, const Usage&) = default;
};

struct HourOfUsage {
  TimeUs from = 0;  // Its begin.
  Usage usage;
};

struct KeyUsage {
  std::string owner;  // The key's name; empty: no key was configured.
  Usage total;
  std::vector<HourOfUsage> hours;  // Oldest first, those in which it used something.
};

// Pure: time comes in with what is booked. At most kOwnersMax names; what further ones use is
// booked under kOtherOwners.
class UsageBook {
 public:
  static constexpr int64_t kHoursMax = 30 * 24;
  static constexpr size_t kOwnersMax = 100;
  static constexpr std::string_view kOtherOwners = "(others)";

  // What `owner` uses in the hour of `now` is added to it.
  Usage& at(const std::string& owner, TimeUs now);
  // The keys that used something in the last `hours`, those with the most tokens first.
  std::vector<KeyUsage> last(int64_t hours, TimeUs now) const;
  // When booking began; 0: it has not.
  TimeUs since() const { return since_; }
  // Booking begins now, unless it has before.
  void begin(TimeUs now) { since_ = since_ == 0 ? now : since_; }

  // As text, a line per key and hour; and back into an empty book.  Errors: kInvalid for a text
  // that is not of a book; the book is then empty.
  std::string save() const;
  Result<void> load(std::string_view text);

 private:
  void forget(int64_t hour);

  TimeUs since_ = 0;
  int64_t newest_ = 0;  // The newest hour booked.
  std::map<std::string, std::map<int64_t, Usage>> hours_;  // By owner and hour since the epoch.
};

}  // namespace altlas::control
