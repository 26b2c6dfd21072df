// CommitGroup: what is written to a store together, in which order, and what became of each call.
// The writer's thread drives it, and so does the simulator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "journal/events.h"
#include "journal/store.h"

namespace altlas::journal {

// One call of the writer: append, forget or put_value.
struct WriteRequest {
  std::vector<TaskEvent> events;
  std::vector<TaskId> forgotten;
  std::string name, value;  // The arguments of put_value; an empty name is none.
};

class CommitGroup {
 public:
  // Events of one commit; more wait for the next one.
  explicit CommitGroup(size_t events_max) : events_max_(events_max) {}

  // Takes what the request holds. False, and `request` untouched, where the group has no room for
  // its events; the first request always has.
  bool add(WriteRequest& request);
  bool empty() const { return count_ == 0; }
  uint64_t events() const { return events_.size(); }

  struct Outcome {
    Result<void> appended, forgot, valued;
    uint64_t failures() const {
      return uint64_t{!appended.ok()} + uint64_t{!forgot.ok()} + uint64_t{!valued.ok()};
    }
  };
  // Appends all events as one commit, then forgets, then puts the last value of each name.
  Outcome write(Store& store) const;

 private:
  const size_t events_max_;
  size_t count_ = 0;  // Requests.
  std::vector<TaskEvent> events_;
  std::vector<TaskId> forgotten_;
  std::map<std::string, std::string> values_;
};

}  // namespace altlas::journal
