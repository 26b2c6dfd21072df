// Goal: what waits for the journal is written in time, in one write where possible, and again after
// a failure.
#include "control/core/journal_queue.h"

#include "control/core/core_parts_test.h"

namespace altlas::control {
namespace {

TEST(JournalQueue, WritesAreKnownByTheirTickets) {
  JournalQueue queue;
  std::vector<Action> out;
  Step step{100, out};
  queue.append({JournalWrite::Kind::kEnd, {3, 4}}, {journal::TaskEvent{}}, step);
  queue.append({JournalWrite::Kind::kAccept, {5}}, {journal::TaskEvent{}}, step);
  ASSERT_EQ(out.size(), 2u);
  const uint64_t second = std::get<AppendJournal>(out[1]).ticket;
  EXPECT_EQ(queue.take(second)->tasks, (std::vector<uint64_t>{5}));
  EXPECT_FALSE(queue.take(second));
  EXPECT_FALSE(queue.take(99));
  EXPECT_EQ(queue.take(std::get<AppendJournal>(out[0]).ticket)->kind, JournalWrite::Kind::kEnd);
}

TEST(JournalQueue, TokensAndNotesAreFlushedInTime) {
  JournalQueue queue;
  EXPECT_EQ(queue.next_deadline(), INT64_MAX);
  queue.add_tokens(1, 1000);
  queue.add_note({}, 2000);
  EXPECT_EQ(queue.next_deadline(), 1000 + kTokenFlushUs);
  EXPECT_FALSE(queue.flush_due(999 + kTokenFlushUs));
  EXPECT_TRUE(queue.flush_due(1000 + kTokenFlushUs));
  queue.flush_begins();
  EXPECT_EQ(queue.take_notes().size(), 1u);
  EXPECT_EQ(queue.take_tokens(), std::set<uint64_t>{1});
  queue.check_integrity();
  queue.put_off_flush(5000, [&] { queue.add_tokens(1, 5000); });
  EXPECT_EQ(queue.next_deadline(), 5000 + kJournalRetryUs);
  queue.drop_tokens(1);
  EXPECT_FALSE(queue.has_tokens());
}

TEST(JournalQueue, EndsAreTriedAgainTogether) {
  JournalQueue queue;
  queue.retry_ends({1, 2}, 1000);
  queue.retry_ends({3}, 2000);
  EXPECT_TRUE(queue.take_ends_due(999 + kJournalRetryUs).empty());
  EXPECT_EQ(queue.take_ends_due(1000 + kJournalRetryUs), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(queue.next_deadline(), INT64_MAX);
}

TEST(JournalQueue, IsSaved) {
  JournalQueue queue;
  std::vector<Action> out;
  Step step{100, out};
  queue.append({JournalWrite::Kind::kTokens, {3, 4}}, {journal::TaskEvent{}}, step);
  queue.add_note({TaskId{1, 2}, 50, journal::TaskStarted{DeviceId{3}}}, 100);
  queue.add_tokens(9, 100);
  queue.retry_ends({8}, 100);
  expect_saved(queue, [] { return std::make_unique<JournalQueue>(); });
}

}  // namespace
}  // namespace altlas::control
