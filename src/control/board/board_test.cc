// Goal: what people look at is what happened: percentiles, rates, history of bounded length, usage
// by key and hour, changes with their reasons. Method: tasks and time by hand, beside counts that
// the test makes itself.
#include "control/board/board.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace altlas::control {
namespace {

constexpr TimeUs kStart = 1'800'000'000 * kSecond;  // The begin of a minute.
constexpr int64_t kHour = 3600 * kSecond;

TaskView task(uint64_t id, const std::string& owner = "ann", int32_t device = 0) {
  TaskView out;
  out.id = TaskId{0, id};
  out.owner = owner;
  out.deployment = "model";
  out.status = TaskStatus::kRunning;
  out.device = DeviceId{device};
  out.created_at = kStart;
  out.started_at = kStart + 100 * kMillisecond;
  out.prompt_tokens = 10;
  return out;
}

BoardView picture(int devices = 1) {
  BoardView out;
  for (int i = 0; i < devices; ++i) {
    DeviceView& device = out.devices.emplace_back();
    device.id = DeviceId{i};
    device.utilization = 50;
    device.memory_used = 1000;
  }
  return out;
}

TEST(Spread, PercentilesAreWithinABucketOfTheExactOnes) {
  for (const double middle : {0.0003, 0.02, 1.5, 700.0}) {
    Spread spread;
    std::mt19937 random(7);
    std::lognormal_distribution<double> draw(std::log(middle), 0.8);
    std::vector<double> values;
    for (int i = 0; i < 5000; ++i) values.push_back(draw(random));
    for (const double value : values) spread.add(value);
    std::ranges::sort(values);
    for (const double q : {0.5, 0.95, 0.99}) {
      const double exact = values[static_cast<size_t>(q * 5000)];
      EXPECT_NEAR(spread.percentile(q) / exact, 1, 0.13) << middle << " " << q;
    }
  }
  EXPECT_TRUE(std::isnan(Spread().percentile(0.5)));
  Spread odd;
  for (const double value : {0.0, -1.0, 1e9, std::nan("")}) odd.add(value);
  EXPECT_EQ(odd.count(), 4u);
}

TEST(Board, CountsLatenciesAndRates) {
  Board board({});
  board.tick(picture(), kStart);
  TaskView one = task(1);
  board.started(one);
  for (int i = 1; i <= 10; ++i) {
    one.generated_tokens = static_cast<uint32_t>(i);
    board.said(one, 1, kStart + (200 + 50 * i) * kMillisecond);
  }
  board.tick(picture(), kStart + kSecond);
  auto view = board.view();
  EXPECT_FLOAT_EQ(view->rates.tokens, 10);
  EXPECT_EQ(view->first_token.count, 1u);
  EXPECT_EQ(view->inter_token.count, 9u);
  EXPECT_EQ(view->rates.inter_token.count, 9u);
  EXPECT_FLOAT_EQ(view->rates.inter_token.p50, view->inter_token.p50) << "all in one second";
  EXPECT_FLOAT_EQ(board.history(false).samples.back().inter_token.p99, view->inter_token.p99);
  EXPECT_NEAR(view->queue.p50, 0.1, 0.012);
  EXPECT_NEAR(view->first_token.p50, 0.25, 0.03);
  EXPECT_NEAR(view->inter_token.p50, 0.05, 0.006);
  ASSERT_EQ(view->requests.size(), 1u);
  EXPECT_NEAR(view->requests[0].tokens_per_second, 9 / 0.75, 0.1);
  one.status = TaskStatus::kCompleted;
  one.finished_at = kStart + 1500 * kMillisecond;
  board.ended(one, kStart + 1500 * kMillisecond);
  board.tick(picture(), kStart + 2 * kSecond);
  view = board.view();
  EXPECT_NEAR(view->total.p50, 1.5, 0.18);
  EXPECT_FLOAT_EQ(view->rates.completed, 1);
  EXPECT_TRUE(view->requests.empty());
  EXPECT_EQ(view->number, 3u);
}

// A request that was moved or resumed has not begun anew.
TEST(Board, AResumedRequestHasNoSecondFirstToken) {
  Board board({});
  TaskView one = task(1);
  one.generated_tokens = 40;
  board.started(one);
  one.generated_tokens = 41;
  board.said(one, 1, kStart + kSecond);
  board.put_back(one.id);
  board.started(one);
  board.tick(picture(), kStart + 2 * kSecond);
  EXPECT_EQ(board.view()->first_token.count, 0u);
  EXPECT_EQ(board.view()->queue.count, 0u);
}

TEST(Board, HistoryIsOfBoundedLength) {
  Board board({});
  TimeUs now = kStart;
  for (int i = 0; i < 26 * 3600; ++i, now += kSecond) {
    BoardView view = picture(70);
    view.waiting = i % 60 == 30 ? 7 : 1;
    board.tick(std::move(view), now);
  }
  const HistoryView fine = board.history(false), coarse = board.history(true);
  EXPECT_EQ(fine.samples.size(), kFineSteps);
  EXPECT_EQ(coarse.samples.size(), kCoarseSteps);
  EXPECT_EQ(fine.samples.back().devices.size(), kHistoryDevices);
  EXPECT_EQ(coarse.samples.back().at - coarse.samples.front().at,
            static_cast<int64_t>(kCoarseSteps - 1) * kCoarseStepUs);
  EXPECT_FLOAT_EQ(coarse.samples.back().waiting, 7) << "the longest of the minute";
  EXPECT_FLOAT_EQ(coarse.samples.back().devices[3].utilization, 50);
  EXPECT_TRUE(std::isnan(coarse.samples.back().devices[3].temperature)) << "not measured";
}

TEST(Board, ADevicesTimeIsSharedOut) {
  Board board({3600, 0});  // Device 0 costs a dollar a second.
  board.tick(picture(2), kStart);
  board.started(task(1, "ann", 0));
  board.started(task(2, "bob", 0));
  board.started(task(3, "bob", 1));
  board.tick(picture(2), kStart + kSecond);
  const UsageView usage = board.usage(1, kStart + kSecond);
  ASSERT_EQ(usage.keys.size(), 2u);
  double seconds = 0, cost = 0, unpriced = 0;
  for (const KeyUsage& one : usage.keys) {
    seconds += one.total.device_seconds;
    cost += one.total.cost_usd;
    unpriced += one.total.unpriced_seconds;
    EXPECT_DOUBLE_EQ(one.total.cost_usd, 0.5);
  }
  EXPECT_DOUBLE_EQ(seconds, 2) << "no more than the devices have";
  EXPECT_DOUBLE_EQ(cost, 1);
  EXPECT_DOUBLE_EQ(unpriced, 1);
}

TEST(Board, ChangesOfReplicasHaveTheirReasons) {
  Board board({});
  std::vector<DeploymentView> deployments(1);
  deployments[0].name = "model";
  deployments[0].replicas.resize(2);
  deployments[0].replicas[1].place = 1;
  board.replicas(deployments, kStart);
  deployments[0].replicas[1].state = ReplicaState::kBackoff;
  deployments[0].replicas[1].message = "killed by signal 9";
  board.replicas(deployments, kStart + kSecond);
  board.replicas(deployments, kStart + 2 * kSecond);
  deployments[0].replicas.pop_back();
  board.replicas(deployments, kStart + 3 * kSecond);
  board.changed(StrategyChanged{Strategy::kRandom}, kStart + 4 * kSecond);
  const std::vector<Change> changes = board.changes_after(2);
  ASSERT_EQ(changes.size(), 3u);
  EXPECT_EQ(changes[0].value, "BACKOFF");
  EXPECT_EQ(changes[0].place, 1u);
  EXPECT_EQ(changes[0].reason, "killed by signal 9");
  EXPECT_EQ(changes[1].value, "REMOVED");
  EXPECT_EQ(changes[2].value, "random");
  EXPECT_TRUE(board.changes_after(5).empty());
  for (size_t i = 0; i < 3 * kChangesMax; ++i) board.warned("again", kStart + 5 * kSecond);
  EXPECT_EQ(board.changes_after(0).size(), kChangesMax);
}

TEST(UsageBook, KeepsThirtyDaysByTheHour) {
  UsageBook book;
  for (int64_t hour = 0; hour < 1000; ++hour) book.at("ann", kStart + hour * kHour).completed += 1;
  const TimeUs now = kStart + 999 * kHour;
  EXPECT_EQ(book.last(24, now)[0].total.completed, 24u);
  EXPECT_EQ(book.last(720, now)[0].total.completed, 720u);
  EXPECT_EQ(book.last(1'000'000, now)[0].hours.size(), 720u);
  EXPECT_TRUE(book.last(24, now + 100 * kHour).empty());
  EXPECT_EQ(book.since(), kStart);
}

TEST(UsageBook, MoreKeysThanFitAreBookedTogether) {
  UsageBook book;
  for (int i = 0; i < 250; ++i) book.at("key " + std::to_string(i), kStart).generated_tokens += 1;
  const auto keys = book.last(1, kStart);
  EXPECT_EQ(keys.size(), UsageBook::kOwnersMax + 1);
  uint64_t tokens = 0;
  for (const KeyUsage& one : keys) tokens += one.total.generated_tokens;
  EXPECT_EQ(tokens, 250u);
}

TEST(UsageBook, ComesBackFromItsText) {
  UsageBook book;
  for (const char* owner : {"", "ann", "two words", "line\nbreak"}) {
    Usage& one = book.at(owner, kStart);
    one = {1, 2, 3, 4, 5, 6.25, 0.1, 7};
    book.at(owner, kStart + kHour).failed = 9;
  }
  UsageBook read;
  ASSERT_TRUE(read.load(book.save()).ok());
  EXPECT_EQ(read.save(), book.save());
  EXPECT_EQ(read.since(), book.since());
  EXPECT_EQ(read.last(2, kStart + kHour).front().total.failed, 11u);
}

TEST(UsageBook, RefusesWhatIsNotItsText) {
  UsageBook book;
  book.at("ann", kStart).completed = 1;
  const std::string good = book.save();
  ASSERT_TRUE(UsageBook().load(good).ok());
  for (const std::string& bad :
       {std::string("x"), std::string(), good.substr(0, good.size() - 1), good + "1 2 3\n",
        "altlas usage 2 5\n" + good, std::string("altlas usage 1 x\n"),
        good + "a b c d e f g h i j\n"}) {
    UsageBook read;
    read.at("bob", kStart);
    EXPECT_FALSE(read.load(bad).ok()) << bad;
    EXPECT_EQ(read.since(), 0) << "the book is empty then";
  }
}

}  // namespace
}  // namespace altlas::control
