// JournalQueue: what waits for the journal, and what waits because of it: writes under way, starts
// and tokens that are written together with others, ends that could not be written.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "control/core/step.h"
#include "journal/events.h"

namespace altlas::control {

// With tokens: async, tokens are in the journal at most so late.
inline constexpr int64_t kTokenFlushUs = 50 * kMillisecond;
inline constexpr int64_t kJournalRetryUs = kSecond;  // After a write that failed.

// What a write under way is for.
struct JournalWrite {
  enum class Kind : uint8_t { kAccept, kEnd, kTokens } kind = Kind::kAccept;
  std::vector<uint64_t> tasks;
};

// Threads: one.
class JournalQueue {
 public:
  // Appends `events` as one write; JournalWritten with its ticket follows.
  void append(JournalWrite write, std::vector<journal::TaskEvent> events, Step& step);
  // The write is over, well or not. Nothing: the ticket is not known.
  std::optional<JournalWrite> take(uint64_t ticket);

  // An event that nobody waits for goes with the next write, at the latest at the next flush.
  void add_note(journal::TaskEvent note, TimeUs now);
  std::vector<journal::TaskEvent> take_notes();
  // The task has tokens to be written at the next flush.
  void add_tokens(uint64_t task, TimeUs now);
  void drop_tokens(uint64_t task) { with_tokens_.erase(task); }
  bool has_tokens() const { return !with_tokens_.empty(); }
  std::set<uint64_t> take_tokens();
  // Tokens could not be written: they are added again, and the flush waits a while.
  template <class AddAgain>
  void put_off_flush(TimeUs now, AddAgain add_again);
  bool flush_due(TimeUs now) const { return now >= flush_at_; }
  void flush_begins() { flush_at_ = INT64_MAX; }

  // Ends that could not be written.
  void retry_ends(const std::vector<uint64_t>& tasks, TimeUs now);
  std::vector<uint64_t> take_ends_due(TimeUs now);

  TimeUs next_deadline() const { return std::min(flush_at_, retry_at_); }
  // Everything that decides, as bytes (saved_part.h), and the hash of these bytes.
  std::string save() const;
  uint64_t hash() const;
  // Into a part that was just made from the same setup.  Errors: kInvalid for bytes that are not
  // this part's, of another version, or damaged; the part is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.

 private:
  static auto saved(auto& self);
  std::map<uint64_t, JournalWrite> writes_;  // By ticket.
  uint64_t next_write_ = 1;
  std::vector<journal::TaskEvent> notes_;
  std::set<uint64_t> with_tokens_;  // Tasks.
  TimeUs flush_at_ = INT64_MAX;
  std::vector<uint64_t> ends_to_retry_;
  TimeUs retry_at_ = INT64_MAX;
};

template <class AddAgain>
void JournalQueue::put_off_flush(TimeUs now, AddAgain add_again) {
  const TimeUs before = flush_at_;
  add_again();
  flush_at_ = std::min(before, with_tokens_.empty() ? INT64_MAX : now + kJournalRetryUs);
}

}  // namespace altlas::control
