// Goal: owners are served in rounds, nobody starves, levels and ages hold, and one owner alone is
// served as if there were no rounds. Method: tables of arrivals and of the order of service, and
// seeded random operations compared with a model.
#include "scheduler/fair_turns.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/philox.h"
#include "scheduler/queue.h"

namespace altlas::scheduler {
namespace {

constexpr TimeUs kStep = 30 * kSecond;

// A queue as the core keeps it: tasks by turn, and a number of places in which they run.
class Line {
 public:
  void come(const std::string& owner, TimeUs own, uint8_t level = 0, uint32_t lane = 0) {
    const uint64_t task = ++tasks_;
    owner_[task] = owner;
    const TimeUs turn = turns.enter({task, lane, level, owner, own + level * kStep});
    queue_.push({.task = task, .lane = lane, .arrived = own, .expires = INT64_MAX, .turn = turn});
  }
  // Starts the next task. Returns its owner.
  std::string start(bool served = true, uint32_t lane = 0) {
    const uint64_t task = queue_.head(lane).value();
    queue_.erase(task);
    if (served) turns.served(task);
    running_.push_back(task);
    turns.check_integrity();
    return owner_.at(task).empty() ? "-" : owner_.at(task);
  }
  void finish() {
    turns.leave(running_.front());
    running_.erase(running_.begin());
  }
  // Serves tasks one after another. Returns their owners in that order.
  std::string serve(size_t most = 1000) {
    std::string out;
    while (most-- > 0 && queue_.size() > 0) {
      out += start();
      finish();
    }
    return out;
  }
  FairTurns turns;

 private:
  WaitingQueue queue_{QueueLimits{}};
  std::map<uint64_t, std::string> owner_;
  std::vector<uint64_t> running_;
  uint64_t tasks_ = 0;
};

struct Arrival {
  const char* owner;
  int count;
  TimeUs at;
  uint8_t level = 0;
};
struct Row {
  const char* name;
  std::vector<Arrival> arrivals;
  const char* served;
};
const Row kRows[] = {
    {"one of a key behind many of another's", {{"a", 6, 0}, {"b", 1, 9}}, "abaaaaa"},
    {"all at the same time", {{"a", 4, 5}, {"b", 3, 5}, {"c", 2, 5}}, "abcabcaba"},
    {"two backlogs", {{"a", 5, 0}, {"b", 3, 100}}, "abababaa"},
    {"a backlog of an hour", {{"a", 4, 0}, {"b", 2, 3600 * kSecond}}, "ababaa"},
    {"those without a key are one owner", {{"", 3, 0}, {"b", 2, 7}}, "-b-b-"},
    {"the second comes to two", {{"a", 3, 0}, {"b", 2, 10}, {"c", 1, 20}}, "abcaba"},
    {"a level above goes first", {{"a", 3, 0, 1}, {"b", 2, 9, 0}, {"c", 2, 9, 1}}, "bbacaca"},
    {"an age counts above that",
     {{"a", 2, 0, 1}, {"b", 3, 31 * kSecond, 0}, {"c", 1, 32 * kSecond, 0}},
     "aabcbb"},
    {"what asks again has its age", {{"a", 2, 50}, {"b", 1, 60}, {"b", 1, 3}}, "baba"},
    {"one owner alone", {{"a", 2, 0}, {"a", 1, 7}, {"a", 2, 3}}, "aaaaa"},
};

TEST(FairTurns, OwnersAreServedInRounds) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    Line line;
    for (const Arrival& one : row.arrivals)
      for (int i = 0; i < one.count; ++i) line.come(one.owner, one.at, one.level);
    EXPECT_EQ(line.serve(), row.served);
  }
}

// Goal: an owner's running tasks count: the next place is another owner's.
TEST(FairTurns, RunningTasksCount) {
  for (const bool served : {true, false}) {
    Line line;
    for (int i = 0; i < 10; ++i) line.come("a", 0);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(line.start(served), "a");
    for (int i = 0; i < 3; ++i) line.come("b", 1000);
    // For the places that b is owed, at most one more of a's tasks comes in between.
    std::string order;
    for (int i = 0; i < 5; ++i) order += line.start(served);
    EXPECT_EQ(std::ranges::count(order, 'b'), 3) << order;
  }
}

TEST(FairTurns, LanesAndMovesAreByThemselves) {
  Line line;
  for (int i = 0; i < 5; ++i) line.come("a", 0, 0, 1);
  line.come("b", 9, 0, 2);
  EXPECT_EQ(line.turns.turn(6), 9);
  line.turns.move(1, 2);
  line.turns.move(2, 2);
  line.come("c", 20, 0, 2);
  EXPECT_EQ(line.turns.turn(7), 0);
  line.turns.check_integrity();
}

// Goal: a stream of others' tasks, however long, passes an owner's task only as often as that
// task's rank among its owner's.
TEST(FairTurns, NobodyStarves) {
  for (const int others : {1, 3, 10}) {
    SCOPED_TRACE(others);
    Line line;
    for (int i = 0; i < 20; ++i) line.come("z", i);
    line.come("z", 15, 1);  // Its level is lower: its age is over before the others come.
    std::map<std::string, int> waiting;
    TimeUs now = 100 * kSecond;
    int mine = 0, rounds = 0;
    while (mine < 21 && ++rounds < 21 * (others + 1) + others) {
      for (int o = 0; o < others; ++o) {
        const std::string owner(1, static_cast<char>('a' + o));
        while (waiting[owner] < 2) {
          line.come(owner, now += kMillisecond);
          ++waiting[owner];
        }
      }
      const std::string who = line.start();
      line.finish();
      if (who == "z") {
        ++mine;
      } else {
        --waiting[who];
      }
    }
    EXPECT_EQ(mine, 21) << "after " << rounds;
  }
}

// Goal: a single owner's order is that of turn_of(), whatever comes and goes.
TEST(FairTurns, OneOwnerIsServedByItsOwnTurns) {
  PhiloxStream random{.seed = 5};
  for (const char* owner : {"", "ada"}) {
    FairTurns turns;
    std::map<uint64_t, TimeUs> own;
    for (uint64_t task = 1; task <= 3000; ++task) {
      const TimeUs at = static_cast<TimeUs>(task) * kMillisecond;
      own[task] = turn_of({}, static_cast<Priority>(random.below(3)), at);
      EXPECT_EQ(turns.enter({task, 0, static_cast<uint8_t>(random.below(3)), owner, own[task]}),
                own[task]);
      const auto other = std::next(own.begin(), static_cast<ptrdiff_t>(random.below(own.size())));
      if (random.below(3) == 0) {
        turns.leave(other->first);
        own.erase(other);
      }
    }
    turns.check_integrity();
  }
}

// Goal: turns are those of a model that looks at everything, and no turn is later than the task's
// own.
TEST(FairTurns, AgreesWithAModel) {
  PhiloxStream random{.seed = 23};
  struct Known {
    std::string owner;
    TimeUs own, turn;
    bool served;
  };
  FairTurns turns;
  std::map<uint64_t, Known> known;
  for (uint64_t task = 1; task <= 2000; ++task) {
    const std::string owner(1, static_cast<char>('a' + random.below(4)));
    const auto asked = static_cast<TimeUs>(random.below(50) + task);
    TimeUs own = asked;
    std::map<std::string, std::vector<Known>> of;
    std::map<std::string, size_t> served;
    for (const auto& [id, one] : known) {
      if (one.served) ++served[one.owner];
      if (!one.served) of[one.owner].push_back(one);
    }
    for (auto& [name, list] : of) std::ranges::sort(list, {}, &Known::own);
    while (std::ranges::find(of[owner], own, &Known::own) != of[owner].end()) ++own;
    const size_t before = of[owner].size() + served[owner];
    TimeUs want = own, least = 0;
    for (const auto& [name, list] : of) {
      const size_t rank = before - std::min(before, served[name]);
      if (name != owner && rank < list.size()) want = std::min(want, list[rank].own);
    }
    for (const Known& one : of[owner])
      if (one.own < own) least = one.turn;
    want = std::max(want, least);
    ASSERT_EQ(turns.enter({task, 3, 1, owner, asked}), want) << task;
    EXPECT_LE(want, own);
    known[task] = {owner, own, want, false};
    const auto at = std::next(known.begin(), static_cast<ptrdiff_t>(random.below(known.size())));
    if (random.below(3) == 0 && !at->second.served) {
      at->second.served = true;
      turns.served(at->first);
    } else if (random.below(2) == 0) {
      turns.leave(at->first);
      known.erase(at);
    }
  }
  turns.check_integrity();
}

}  // namespace
}  // namespace altlas::scheduler
