// KeptTasks: tasks that are over, in the order in which they are forgotten.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace altlas::control {

// Whoever has most of them loses one first, the oldest: nobody's many tasks, or large ones, make
// another's forgotten. Pure.
class KeptTasks {
 public:
  size_t size() const { return size_; }
  uint64_t bytes() const { return bytes_; }
  // `bytes`: what it holds.
  void push(const std::string& owner, uint64_t number, uint64_t bytes);
  // The next to be forgotten where there are too many; there is one.
  uint64_t pop();
  // Where they hold too much.
  uint64_t pop_of_largest();

 private:
  struct Kept {
    uint64_t number, bytes;
  };
  struct Owner {
    std::deque<Kept> tasks;
    uint64_t bytes = 0;
  };
  using Owners = std::map<std::string, Owner>;
  uint64_t pop_of(Owners::iterator owner);

  Owners of_owner_;
  size_t size_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace altlas::control
