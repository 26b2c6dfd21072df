#include "control/core/journal_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "control/core/saved_part.h"

namespace altlas::control {

void JournalQueue::append(JournalWrite write, std::vector<journal::TaskEvent> events, Step& step) {
  step.out.push_back(AppendJournal{next_write_, std::move(events)});
  writes_[next_write_++] = std::move(write);
}

std::optional<JournalWrite> JournalQueue::take(uint64_t ticket) {
  const auto found = writes_.find(ticket);
  if (found == writes_.end()) return std::nullopt;
  JournalWrite out = std::move(found->second);
  writes_.erase(found);
  return out;
}

void JournalQueue::add_note(journal::TaskEvent note, TimeUs now) {
  notes_.push_back(std::move(note));
  flush_at_ = std::min(flush_at_, now + kTokenFlushUs);
}

std::vector<journal::TaskEvent> JournalQueue::take_notes() { return std::exchange(notes_, {}); }

void JournalQueue::add_tokens(uint64_t task, TimeUs now) {
  with_tokens_.insert(task);
  flush_at_ = std::min(flush_at_, now + kTokenFlushUs);
}

std::set<uint64_t> JournalQueue::take_tokens() { return std::exchange(with_tokens_, {}); }

void JournalQueue::retry_ends(const std::vector<uint64_t>& tasks, TimeUs now) {
  ends_to_retry_.insert(ends_to_retry_.end(), tasks.begin(), tasks.end());
  retry_at_ = std::min(retry_at_, now + kJournalRetryUs);
}

std::vector<uint64_t> JournalQueue::take_ends_due(TimeUs now) {
  if (now < retry_at_) return {};
  retry_at_ = INT64_MAX;
  return std::exchange(ends_to_retry_, {});
}

void JournalQueue::check_integrity() const {
  ALTLAS_CHECK(writes_.empty() || writes_.rbegin()->first < next_write_,
               "a write under way was begun");
  ALTLAS_CHECK((retry_at_ == INT64_MAX) == ends_to_retry_.empty(),
               "ends to be written again have a time for it");
  ALTLAS_CHECK((notes_.empty() && with_tokens_.empty()) || flush_at_ != INT64_MAX,
               "what waits for a flush has one coming");
}

auto JournalQueue::saved(auto& self) {
  return std::tie(self.writes_, self.next_write_, self.notes_, self.with_tokens_, self.flush_at_,
                  self.ends_to_retry_, self.retry_at_);
}

std::string JournalQueue::save() const { return save_part("journal_queue", 1, saved(*this)); }

uint64_t JournalQueue::hash() const { return hash_of_saved(save()); }

Result<void> JournalQueue::load(std::string_view bytes) {
  return load_part("journal_queue", 1, bytes, saved(*this));
}

}  // namespace altlas::control
