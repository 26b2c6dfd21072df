#include "engine/replica.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "engine/sim_executor.h"
#include "engine/test_letters.h"

namespace altlas::engine {
namespace {

SimOptions small_model() {
  SimOptions o;
  o.kind = device_kind("h100").value();
  o.shape = {.layers = 2,
             .hidden = 64,
             .heads = 4,
             .kv_heads = 2,
             .head_dim = 16,
             .ffn = 128,
             .vocab = 1000,
             .model_len_max = 2048,
             .weight_bytes = 1 << 20};
  o.sequences_max = 8;
  return o;
}

// An executor that fails after `steps` steps, like a device that is lost.
class FailingExecutor final : public Executor {
 public:
  FailingExecutor(std::unique_ptr<Executor> inner, int steps)
      : inner_(std::move(inner)), steps_(steps) {}
  const ReplicaLimits& limits() const override { return inner_->limits(); }
  void launch(StepPlan plan) override { inner_->launch(std::move(plan)); }
  Result<StepResult> collect() override {
    auto result = inner_->collect();
    if (steps_-- > 0) return result;
    return Error(ErrorCode::kDevice, "the device fell off the bus");
  }
  int in_flight() const override { return inner_->in_flight(); }
  Result<uint64_t> load_adapter(uint32_t, const std::string&) override { return uint64_t{0}; }
  void drop_adapter(uint32_t) override {}
  int depth() const override { return inner_->depth(); }

 private:
  std::unique_ptr<Executor> inner_;
  int steps_;
};

Loader sim_loader(SimTime time, int fail_after = -1) {
  return [=](const LoadReplica& load,
             const LoadProgressSink& progress) -> Result<std::unique_ptr<LoadedReplica>> {
    if (load.model_path == "missing") return not_found("no such model");
    progress(LoadProgress{"weights", 1});
    SimOptions options = small_model();
    options.depth = load.executor_depth;
    ALTLAS_TRY(auto sim, SimExecutor::create(options, nullptr, time, system_clock()));
    auto loaded = std::make_unique<LoadedReplica>();
    loaded->executor = std::move(sim);
    if (fail_after >= 0)
      loaded->executor = std::make_unique<FailingExecutor>(std::move(loaded->executor), fail_after);
    loaded->core =
        std::make_unique<ReplicaCore>(loaded->executor->limits(), CoreOptions{}, nullptr);
    return loaded;
  };
}

// A replica and what it has reported.
class Heard {
 public:
  explicit Heard(Loader loader, LoadReplica load = {})
      : replica_({.load = std::move(load),
                  .loader = std::move(loader),
                  .report = [this](Report report) { take(std::move(report)); },
                  .ended = [this](const Result<void>& end) { take_end(end); }}) {
    replica_.start();
  }
  // Waits until `done(*this)` is true, called under the lock. Returns false after 20 s.
  bool wait(const std::function<bool()>& done) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), done);
  }
  Replica& replica() { return replica_; }

  bool loaded = false;
  int progress = 0;
  int stats = 0;
  ReplicaStats last_stats;
  std::map<uint64_t, std::string> text;
  std::vector<uint64_t> order;  // Sequences in the order of their first tokens.
  std::map<uint64_t, TaskResult> results;
  std::map<uint64_t, uint32_t> cancelled;
  std::vector<AdapterLoaded> adapters;
  std::optional<LoadFailed> failed;
  std::optional<Result<void>> ended;
  bool drained = false;

 private:
  void take(Report report) {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended.has_value());
    if (auto* tokens = std::get_if<SequenceTokens>(&report)) {
      if (!text.contains(tokens->sequence.value)) order.push_back(tokens->sequence.value);
      text[tokens->sequence.value] += tokens->delta.text;
    }
    if (auto* finished = std::get_if<SequenceFinished>(&report))
      results[finished->sequence.value] = finished->result;
    if (auto* one = std::get_if<SequenceCanceled>(&report))
      cancelled[one->sequence.value] = one->tokens;
    if (auto* one = std::get_if<LoadFailed>(&report)) failed = *one;
    if (auto* one = std::get_if<AdapterLoaded>(&report)) adapters.push_back(*one);
    if (auto* one = std::get_if<ReplicaStats>(&report)) {
      ++stats;
      last_stats = *one;
    }
    loaded = loaded || std::holds_alternative<ReplicaLoaded>(report);
    progress += std::holds_alternative<LoadProgress>(report) ? 1 : 0;
    drained = drained || std::holds_alternative<ReplicaDrained>(report);
    changed_.notify_all();
  }
  void take_end(const Result<void>& end) {
    const std::lock_guard lock(mutex_);
    ended = end;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  Replica replica_;
};

Command submit(uint64_t id, int32_t tokens_max) {
  SubmitSequence s;
  s.sequence = SequenceId{id};
  s.prompt = {1, 2, 3};
  s.tokens_max = tokens_max;
  s.sampling.seed = id;
  return s;
}

// Goal: a replica's whole life: progress, loaded, answers, cancel, drain, statistics while idle,
// stop. Method: with one and with two steps in flight.
TEST(Replica, Life) {
  for (const uint32_t depth : {1u, 2u}) {
    LoadReplica load;
    load.executor_depth = depth;
    Heard heard(sim_loader(SimTime::kVirtual), load);
    for (uint64_t id = 1; id <= 20; ++id) ASSERT_TRUE(heard.replica().send(submit(id, 30)));
    ASSERT_TRUE(heard.wait([&] { return heard.results.size() == 20; }));
    EXPECT_TRUE(heard.loaded);
    EXPECT_EQ(heard.progress, 1);
    for (const auto& [id, result] : heard.results) EXPECT_EQ(result.text, heard.text[id]);
    const int stats = heard.stats;
    ASSERT_TRUE(heard.wait([&] { return heard.stats >= stats + 2; }))
        << "idle replicas say that they live";
    EXPECT_EQ(heard.last_stats.generated_tokens, 600u);
    ASSERT_TRUE(heard.replica().send(DrainReplica{}));
    ASSERT_TRUE(heard.wait([&] { return heard.drained; }));
    heard.replica().stop();
    EXPECT_TRUE(heard.ended->ok());
    EXPECT_FALSE(heard.replica().send(submit(99, 1)));
  }
}

// Goal: a running sequence is cancelled at once, and stop() does not wait for sequences. Method: a
// sequence that takes long.
TEST(Replica, CancelAndStopWhileRunning) {
  Heard heard(sim_loader(SimTime::kReal));
  ASSERT_TRUE(heard.replica().send(submit(1, 2000)));
  ASSERT_TRUE(heard.replica().send(submit(2, 2000)));
  ASSERT_TRUE(heard.wait([&] { return !heard.text[1].empty(); }));
  ASSERT_TRUE(heard.replica().send(CancelSequence{SequenceId{1}}));
  ASSERT_TRUE(heard.wait([&] { return heard.cancelled.contains(1); }));
  EXPECT_FALSE(heard.results.contains(1));
  heard.replica().stop();
  EXPECT_TRUE(heard.ended->ok());
}

// Goal: a failed load and a failed device end the replica with the reason, and no sequence is
// reported as failed.
TEST(Replica, SaysWhyItEnded) {
  LoadReplica load;
  load.model_path = "missing";
  Heard missing(sim_loader(SimTime::kVirtual), load);
  ASSERT_TRUE(missing.wait([&] { return missing.ended.has_value(); }));
  EXPECT_EQ(missing.failed->code, ErrorCode::kNotFound);
  EXPECT_FALSE(missing.ended->ok());

  Heard broken(sim_loader(SimTime::kVirtual, 3));
  // The replica ends after three steps: perhaps before the command was sent.
  static_cast<void>(broken.replica().send(submit(1, 100)));
  ASSERT_TRUE(broken.wait([&] { return broken.ended.has_value(); }));
  EXPECT_EQ(broken.failed->code, ErrorCode::kDevice);
  EXPECT_EQ(broken.failed->message, "the device fell off the bus");
  EXPECT_TRUE(broken.results.empty());
  EXPECT_FALSE(broken.replica().send(submit(2, 1)));
}

// Goal: a full inbox reports it, and loses nothing that it took. Method: a load that waits until
// the inbox was filled.
TEST(Replica, FullInboxAnswers) {
  std::mutex gate;
  gate.lock();
  const Loader inner = sim_loader(SimTime::kVirtual);
  Heard heard([&](const LoadReplica& load, const LoadProgressSink& progress) {
    const std::lock_guard wait(gate);
    return inner(load, progress);
  });
  uint64_t sent = 0;
  while (heard.replica().send(submit(sent + 1, 1))) ++sent;
  EXPECT_EQ(sent, kInboxMax);
  gate.unlock();
  EXPECT_TRUE(heard.wait([&] { return heard.results.size() == sent; }));
}

// Goal: steps of others go on while a grammar is compiled, and a stop beside it ends. Method: a
// schema whose cases multiply takes far longer than some simulated steps.
TEST(Replica, CompilesGrammarsBesideSteps) {
  const auto tokenizer = letters();
  const Loader loader = [&](const LoadReplica&,
                            const LoadProgressSink&) -> Result<std::unique_ptr<LoadedReplica>> {
    ALTLAS_TRY(auto sim, SimExecutor::create(small_model(), tokenizer.get(), SimTime::kVirtual,
                                             system_clock()));
    auto loaded = std::make_unique<LoadedReplica>();
    loaded->executor = std::move(sim);
    loaded->core =
        std::make_unique<ReplicaCore>(loaded->executor->limits(), CoreOptions{}, tokenizer.get());
    return loaded;
  };
  const auto costly = [](uint64_t id, const std::string& end) {
    Command command = submit(id, 40);
    std::string pattern = "x(";
    for (int i = 0; i < 3000; ++i)
      pattern += (i > 0 ? "|" : "") + std::to_string(i * 7919) + "[a-z]{1,6}";
    std::get<SubmitSequence>(command).sampling.grammar = {GrammarKind::kRegex, pattern + ")" + end};
    return command;
  };
  Heard heard(loader);
  ASSERT_TRUE(heard.wait([&] { return heard.loaded; }));
  ASSERT_TRUE(heard.replica().send(costly(1, "y")));
  ASSERT_TRUE(heard.replica().send(submit(2, 20)));
  ASSERT_TRUE(heard.wait([&] { return heard.results.contains(1) && heard.results.contains(2); }));
  EXPECT_EQ(heard.text[1].front(), 'x');
  EXPECT_EQ(heard.order, (std::vector<uint64_t>{2, 1}))
      << "it began while the grammar was compiled";
  ASSERT_TRUE(heard.replica().send(costly(3, "z")));
  ASSERT_TRUE(heard.replica().send(submit(4, 20)));
  ASSERT_TRUE(heard.wait([&] { return heard.results.contains(4); }));
  heard.replica().stop();
  EXPECT_TRUE(heard.ended->ok());
}

// An executor that reads an adapter slowly: until a step has been collected meanwhile. It notes
// what it holds.
class AdapterExecutor final : public Executor {
 public:
  struct Held {
    std::mutex mutex;
    std::condition_variable changed;
    int steps = 0;
    std::set<uint32_t> ids;
    std::vector<uint32_t> dropped;
  };
  AdapterExecutor(std::unique_ptr<Executor> inner, Held& held)
      : inner_(std::move(inner)), held_(held) {}
  const ReplicaLimits& limits() const override { return inner_->limits(); }
  void launch(StepPlan plan) override {
    for (const SlotStart& start : plan.starts) {
      const std::lock_guard lock(held_.mutex);
      EXPECT_TRUE(start.request->adapter == 0 || held_.ids.contains(start.request->adapter));
    }
    inner_->launch(std::move(plan));
  }
  Result<StepResult> collect() override {
    auto result = inner_->collect();
    const std::lock_guard lock(held_.mutex);
    ++held_.steps;
    held_.changed.notify_all();
    return result;
  }
  int in_flight() const override { return inner_->in_flight(); }
  int depth() const override { return inner_->depth(); }
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override {
    std::unique_lock lock(held_.mutex);
    const int before = held_.steps;
    EXPECT_TRUE(held_.changed.wait_for(lock, std::chrono::seconds(20), [&] {
      return held_.steps > before + 2;
    })) << "steps go on while a file is read";
    if (path == "bad") return invalid("it is cut short");
    held_.ids.insert(id);
    EXPECT_TRUE(inner_->load_adapter(id, path).ok());
    return uint64_t{64};
  }
  void drop_adapter(uint32_t id) override {
    const std::lock_guard lock(held_.mutex);
    held_.ids.erase(id);
    inner_->drop_adapter(id);
    held_.dropped.push_back(id);
    held_.changed.notify_all();
  }

 private:
  std::unique_ptr<Executor> inner_;
  Held& held_;
};

// Goal: adapter files are read while steps run; an adapter is dropped when nothing names it any
// more, and not before.
TEST(Replica, AdaptersComeAndGoBesideSteps) {
  for (const uint32_t depth : {1u, 3u}) {
    AdapterExecutor::Held held;
    const Loader inner = sim_loader(SimTime::kVirtual);
    const Loader loader =
        [&](const LoadReplica& load,
            const LoadProgressSink& progress) -> Result<std::unique_ptr<LoadedReplica>> {
      ALTLAS_TRY(auto loaded, inner(load, progress));
      loaded->executor = std::make_unique<AdapterExecutor>(std::move(loaded->executor), held);
      return loaded;
    };
    LoadReplica load;
    load.executor_depth = depth;
    Heard heard(loader, load);
    ASSERT_TRUE(heard.wait([&] { return heard.loaded; }));
    ASSERT_TRUE(heard.replica().send(LoadAdapter{{"good", "good"}}));
    ASSERT_TRUE(heard.replica().send(LoadAdapter{{"bad", "bad"}}));
    bool both = false;
    for (uint64_t id = 10; !both; ++id) {  // There is enough work for both.
      ASSERT_TRUE(heard.replica().send(submit(id, 50)));
      ASSERT_TRUE(heard.wait([&] {
        both = heard.adapters.size() == 2;
        return heard.results.contains(id);
      }));
    }
    EXPECT_EQ(heard.adapters[0].message, "");
    EXPECT_EQ(heard.adapters[1].message, "it is cut short");
    SubmitSequence named;
    named.sequence = SequenceId{2};
    named.prompt = {1, 2, 3};
    named.tokens_max = 50;
    named.adapter = "good";
    ASSERT_TRUE(heard.replica().send(std::move(named)));
    ASSERT_TRUE(heard.replica().send(UnloadAdapter{"good"}));
    ASSERT_TRUE(heard.wait([&] { return heard.results.contains(2); }));
    EXPECT_EQ(heard.results[2].tokens, 50u);
    std::unique_lock lock(held.mutex);
    ASSERT_TRUE(held.changed.wait_for(lock, std::chrono::seconds(20),
                                      [&] { return held.dropped.size() == 2; }));
    EXPECT_EQ(held.dropped, (std::vector<uint32_t>{2, 1}));
    lock.unlock();
    heard.replica().stop();
  }
}

}  // namespace
}  // namespace altlas::engine
