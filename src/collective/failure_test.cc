// Ranks that die, stop, leave, come late or make another call: the group ends in time and says why.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <functional>

#include "collective/test_worlds.h"

namespace altlas::collective {
namespace {

using Data = std::vector<std::byte>;
using std::chrono::milliseconds;

// Each op as a rank makes it that waits for rank 1, with vectors of `bytes`.
struct Op {
  const char* name;
  std::function<Result<void>(Group&, size_t bytes)> run;
};

Result<void> reduce_by(Group& group, size_t bytes, Algorithm algorithm) {
  Data in(bytes), out(bytes);
  return group.all_reduce(ElementType::kU8, ReduceOp::kSum, in, out, algorithm);
}

const std::vector<Op>& ops() {
  static const std::vector<Op> all = {
      {"all_reduce", [](Group& g, size_t n) { return reduce_by(g, n, Algorithm::kFixed); }},
      {"all_reduce", [](Group& g, size_t n) { return reduce_by(g, n, Algorithm::kRing); }},
      {"all_reduce", [](Group& g, size_t n) { return reduce_by(g, n, Algorithm::kTree); }},
      {"all_gather",
       [](Group& g, size_t n) {
         Data in(n), out(n * static_cast<size_t>(g.size()));
         return g.all_gather(ElementType::kU8, in, out);
       }},
      {"reduce_scatter",
       [](Group& g, size_t n) {
         Data in(n * static_cast<size_t>(g.size())), out(n);
         return g.reduce_scatter(ElementType::kU8, ReduceOp::kMax, in, out);
       }},
      {"broadcast",
       [](Group& g, size_t n) {
         Data data(n);
         return g.broadcast(ElementType::kU8, data, 1);
       }},
      {"all_to_all",
       [](Group& g, size_t n) {
         Data data(n * static_cast<size_t>(g.size()));
         return g.all_to_all(ElementType::kU8, data, data);
       }},
      {"barrier", [](Group& g, size_t) { return g.barrier(); }},
      {"send/recv",
       [](Group& g, size_t n) {
         Data data(n);
         return g.rank() == 1 ? g.send(ElementType::kU8, data, 0)
                              : g.receive(ElementType::kU8, data, 1);
       }},
  };
  return all;
}

class Failures : public ::testing::TestWithParam<World> {};

void expect_named(const Result<void>& result, const Op& op, std::initializer_list<ErrorCode> codes,
                  std::string_view also = "rank 1") {
  ASSERT_FALSE(result.ok()) << op.name;
  const std::string& words = result.error().message();
  EXPECT_NE(std::ranges::find(codes, result.error().code()), codes.end()) << words;
  EXPECT_TRUE(words.contains(op.name) && words.contains("step") && words.contains(also)) << words;
}

// Goal: a rank that never comes ends every op within the timeout, and its name is said.
TEST_P(Failures, ARankThatStalls) {
  const auto stall = [](const Op& op) {
    Groups groups = make_world(GetParam(), 3, {.timeout = milliseconds(2'000)});
    on_ranks(groups, [&](Group& group) {
      ASSERT_TRUE(group.barrier().ok());
      if (group.rank() != 1) expect_named(op.run(group, 100), op, {ErrorCode::kDeadline});
    });
    EXPECT_FALSE(groups[1]->barrier().ok()) << op.name << ": the group has ended for all";
  };
  std::vector<std::jthread> all;  // The cases run side by side, since each waits for its timeout.
  for (const Op& op : ops()) all.emplace_back([&stall, &op] { stall(op); });
}

// Goal: a rank that leaves is noticed long before the timeout.
TEST_P(Failures, ARankThatLeaves) {
  for (const Op& op : ops()) {
    Groups groups = make_world(GetParam(), 3);
    on_ranks(groups, [&](Group& group) {
      // A rank that is still in the barrier when another has seen rank 1 leave ends there.
      const Result<void> here = group.barrier();
      if (group.rank() == 1) return groups[1].reset();
      expect_named(here.ok() ? op.run(group, 100) : here, op, {ErrorCode::kUnavailable});
    });
  }
}

// Goal: a rank that learns of the first that left from another one, which left because of it, names
// the first and not the messenger. Method: every rank leaves as soon as its call has failed, many
// times.
TEST_P(Failures, TheCauseIsNamedNotTheMessenger) {
  const Op& barrier = *std::ranges::find(ops(), std::string_view("barrier"), &Op::name);
  for (int round = 0; round < 40; ++round) {
    Groups groups = make_world(GetParam(), 4);
    on_ranks(groups, [&](Group& group) {
      const auto rank = static_cast<size_t>(group.rank());
      if (rank == 1) return groups[rank].reset();
      expect_named(group.barrier(), barrier, {ErrorCode::kUnavailable});
      groups[rank].reset();
    });
  }
}

// Goal: another size, type or collective on one rank is an error on all and named; no rank hangs.
// Method: after the call itself, one barrier: a rank that only sent could not see the error before.
TEST_P(Failures, ARankThatCallsSomethingElse) {
  for (const Op& op : ops())
    for (const bool other_op : {false, true}) {
      if (other_op && (op.name == std::string("send/recv"))) continue;
      const Op& another = op.name == std::string("barrier") ? ops()[3] : ops()[7];
      Groups groups = make_world(GetParam(), 3, {.timeout = milliseconds(10'000)});
      std::atomic<int> failed{0};
      on_ranks(groups, [&](Group& group) {
        const bool odd = group.rank() == 1;
        Result<void> done =
            odd && other_op ? another.run(group, 100) : op.run(group, odd && !other_op ? 200 : 100);
        if (op.name == std::string("barrier") && !other_op) return void(++failed);
        if (done.ok()) done = group.barrier();
        ASSERT_FALSE(done.ok()) << op.name;
        EXPECT_EQ(done.error().code(), ErrorCode::kConflict) << done.error().message();
        EXPECT_TRUE(done.error().message().contains("rank 1 called")) << done.error().message();
        ++failed;
      });
      EXPECT_EQ(failed, 3) << op.name;
    }
}

// Goal: abort from another thread wakes everybody with its words.
TEST_P(Failures, AbortWakesEverybody) {
  for (const Op& op : ops()) {
    Groups groups = make_world(GetParam(), 3);
    std::atomic<int> entered{0};
    on_ranks(groups, [&](Group& group) {
      ASSERT_TRUE(group.barrier().ok());
      ++entered;
      if (group.rank() == 1) {
        while (entered < 3) std::this_thread::yield();
        return group.abort("enough of it");
      }
      const Result<void> done = op.run(group, 100);
      ASSERT_FALSE(done.ok());
      EXPECT_EQ(done.error().code(), ErrorCode::kCanceled) << done.error().message();
      EXPECT_TRUE(done.error().message().contains("rank 1 aborted the group: enough of it"));
    });
  }
}

// Goal: a rank that is only late holds nobody up for good. Method: it yields long after the others
// went in, beyond spinning into sleep.
TEST_P(Failures, ARankThatIsLate) {
  for (const Op& op : ops()) {
    Groups groups = make_world(GetParam(), 3);
    std::atomic<int> entered{0};
    on_ranks(groups, [&](Group& group) {
      if (group.rank() == 1) {
        while (entered < 2) std::this_thread::yield();
        for (int i = 0; i < 3000; ++i) std::this_thread::yield();
      }
      ++entered;
      if (op.name == std::string("send/recv") && group.rank() == 2) return;
      const Result<void> done = op.run(group, 100'000);
      EXPECT_TRUE(done.ok()) << op.name << ": " << done.error().message();
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, Failures, ::testing::ValuesIn(kWorlds),
                         [](const auto& info) { return name_of(info.param); });

// One process for each of three ranks; rank 1 gets `signal` while the others call `op`.
class Processes {
 public:
  Processes(bool tcp, const Op& op, int signal, milliseconds timeout)
      : name_((tcp ? "tcp " : "shared memory ") + std::string(op.name)),
        listener_(listen_anywhere("127.0.0.1").value()) {
    const auto identity = TlsIdentity::make_ephemeral().value();
    const std::string group = unique_name();
    for (int rank = 0; rank < 3; ++rank) {
      ALTLAS_CHECK(::pipe(pipes_[rank]) == 0, "a pipe");
      pids_[rank] = ::fork();
      if (pids_[rank] != 0) {
        ::close(pipes_[rank][1]);
        continue;
      }
      const TcpJoin by_tcp{.rank = rank,
                           .size = 3,
                           .port = listener_.port,
                           .identity = identity,
                           .listener = rank == 0 ? listener_.fd.get() : -1};
      const GroupOptions options{.timeout = timeout};
      const auto joined =
          tcp ? join_tcp(by_tcp, options)
              : join_shared_memory({.rank = rank, .size = 3, .name = group}, options);
      const std::string words = joined ? call(**joined, op, signal) : joined.error().message();
      ::_exit(::write(pipes_[rank][1], words.data(), words.size()) < 0 ? 1 : 0);
    }
  }

  // The errors of rank 0 and rank 2.
  std::vector<std::string> survivors() {
    std::vector<std::string> said{read_all(0), read_all(2)};
    ::kill(pids_[1], SIGKILL);
    read_all(1);
    for (const pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
    return said;
  }
  const std::string& name() const { return name_; }

 private:
  static std::string call(Group& group, const Op& op, int signal) {
    if (const auto here = group.barrier(); !here) return "barrier: " + here.error().message();
    if (group.rank() == 1) ::raise(signal);
    const Result<void> done = op.run(group, 100);
    return done.ok() ? "ok" : done.error().message();
  }
  std::string read_all(int rank) {
    std::string out;
    char buffer[1024];
    for (ssize_t size; (size = ::read(pipes_[rank][0], buffer, sizeof(buffer))) > 0;)
      out.append(buffer, static_cast<size_t>(size));
    ::close(pipes_[rank][0]);
    return out;
  }

  const std::string name_;
  const Listener listener_;
  int pipes_[3][2] = {};
  pid_t pids_[3] = {};
};

// Runs every op over both transports, side by side; `words` must be in each survivor's error.
void expect_of_survivors(int signal, milliseconds timeout, std::string_view words) {
  std::vector<std::pair<const Op*, std::unique_ptr<Processes>>> all;
  for (const bool tcp : {false, true})
    for (const Op& op : ops())
      all.emplace_back(&op, std::make_unique<Processes>(tcp, op, signal, timeout));
  for (auto& [op, processes] : all)
    for (const std::string& said : processes->survivors())
      EXPECT_TRUE(said.contains(words) && said.contains(op->name))
          << processes->name() << ": " << said;
}

// Goal: the others of a killed process learn at once that it died, whatever they do.
TEST(FailuresOfProcesses, AKilledRank) {
  expect_of_survivors(SIGKILL, milliseconds(30'000), "rank 1 died");
}

// Goal: the others of a stopped process end at their timeout and name it, though rings make some of
// them wait for one another.
TEST(FailuresOfProcesses, AStoppedRank) {
  expect_of_survivors(SIGSTOP, milliseconds(5'000), "rank 1 did not come");
}

}  // namespace
}  // namespace altlas::collective
