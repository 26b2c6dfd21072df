// Admissions: places in the queue. A request asks for places before its text is read, and gets a
// ticket that holds them; its tasks take the places when they are submitted; then the ticket waits
// for the journal to have them all. Also counts the tasks that the queue bound is about.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "control/events.h"

namespace altlas::control {

inline constexpr size_t kTicketsMax = 65'536;  // Admissions not yet submitted.

// The tasks of one TasksSubmitted, until all are durable.
struct Submission {
  std::vector<uint64_t> tasks;  // By number, in the order of the specs.
  std::vector<Placed> placed;   // As they were at submission.
  uint32_t unresolved = 0;      // Tasks that are not yet durable.
};

// Threads: one.
class Admissions {
 public:
  explicit Admissions(size_t deployments) : by_deployment_(deployments) {}

  // Places of requests that are being read.
  bool has_ticket(uint64_t ticket) const { return tickets_.contains(ticket); }
  size_t tickets() const { return tickets_.size(); }
  void grant(uint64_t ticket, uint32_t deployment, uint32_t tasks, const std::string& owner);
  void give_back(uint64_t ticket);  // Its places are free; unknown tickets are ignored.
  uint32_t promised() const { return promised_; }
  uint32_t promised(uint32_t deployment) const { return by_deployment_[deployment].promised; }

  // Tasks that count against max_queue_size: those that were not promised a start at once.
  void hold(uint32_t deployment, const std::string& owner, bool more);
  uint32_t held() const { return held_; }
  uint32_t held(uint32_t deployment) const { return by_deployment_[deployment].held; }
  // Places that an owner's tickets and held tasks take, in one deployment and in all.
  uint32_t of_owner(uint32_t deployment, const std::string& owner) const;
  uint32_t of_owner(const std::string& owner) const;
  void set_most(uint32_t max_queue_size);  // The bound, for check_integrity().

  // Submissions that wait for their tasks to be durable.
  bool has_submission(uint64_t ticket) const { return submissions_.contains(ticket); }
  void add(uint64_t ticket, Submission submission);
  const Submission& submission(uint64_t ticket) const { return submissions_.at(ticket); }
  void task_is_durable(uint64_t ticket) { --submissions_.at(ticket).unresolved; }
  bool is_resolved(uint64_t ticket) const;  // It is there, and all its tasks are durable.
  Submission take(uint64_t ticket);

  // Everything that decides, as bytes (saved_part.h), and the hash of these bytes.
  std::string save() const;
  uint64_t hash() const;
  // Into a part that was just made from the same setup.  Errors: kInvalid for bytes that are not
  // this part's, of another version, or damaged; the part is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.

 private:
  static auto saved(auto& self);
  struct Ticket {
    uint32_t deployment = 0, tasks = 0;
    std::string owner;
  };
  struct Counts {
    uint32_t promised = 0;  // Places of open tickets.
    uint32_t held = 0;      // Tasks.
    std::map<std::string, uint32_t> of_owner;  // Both; owners that have none are not here.
  };
  void count(uint32_t deployment, const std::string& owner, uint32_t places, bool more);
  std::map<uint64_t, Ticket> tickets_;
  std::map<uint64_t, Submission> submissions_;
  std::vector<Counts> by_deployment_;
  uint32_t promised_ = 0, held_ = 0;  // Sums over deployments.
  uint32_t most_ = 0;                 // The largest max_queue_size so far.
};

}  // namespace altlas::control
