// KeptTasks: tasks that are over, in the order in which they are forgotten.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <tuple>

namespace altlas::control {

// Whoever has most of them loses one first, the oldest: nobody's many tasks make another's
// forgotten, nor its idempotency keys with them. Pure.
class KeptTasks {
 public:
  size_t size() const { return size_; }
  uint64_t bytes() const { return bytes_; }
  // `bytes`: what it holds.
  void push(const std::string& owner, uint64_t number, uint64_t bytes);
  // The next to be forgotten; there is one.
  uint64_t pop();
  static auto saved(auto& self) { return std::tie(self.of_owner_, self.size_, self.bytes_); }

 private:
  struct Kept {
    uint64_t number, bytes;
  };
  std::map<std::string, std::deque<Kept>> of_owner_;
  size_t size_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace altlas::control
