#include "server/connection/wrong_keys.h"

#include <algorithm>

namespace altlas::server {
namespace {

constexpr size_t kAddressesMax = 1024;
constexpr TimeUs kForgetAfter = 60 * kSecond;
constexpr TimeUs kFirstDelay = kSecond / 20, kDelayMax = 2 * kSecond;
constexpr int64_t kFree = 3;  // Wrong keys that are answered without delay, for people who mistype.

bool is_power_of_ten(int64_t value) {
  while (value >= 10 && value % 10 == 0) value /= 10;
  return value == 1;
}

}  // namespace

WrongKeys::Verdict WrongKeys::note(const std::string& address, TimeUs now) {
  const std::lock_guard lock(mutex_);
  if (tries_.size() >= kAddressesMax && !tries_.contains(address)) {
    std::erase_if(tries_, [&](const auto& one) { return now - one.second.last > kForgetAfter; });
    if (tries_.size() >= kAddressesMax)
      tries_.erase(std::ranges::min_element(
          tries_, {}, [](const auto& one) { return one.second.last; }));
  }
  Tries& tries = tries_[address];
  if (now - tries.last > kForgetAfter) tries.count = 0;
  tries.last = std::max(tries.last, now);
  Verdict verdict{.count = ++tries.count, .delay = 0, .log = is_power_of_ten(tries.count)};
  if (verdict.count > kFree) {
    const int64_t doublings = std::min<int64_t>(verdict.count - kFree - 1, 10);
    verdict.delay = std::min(kFirstDelay << doublings, kDelayMax);
  }
  return verdict;
}

}  // namespace altlas::server
