// Goal: ranks in several processes, which reach each other by collective groups only, say the same
// bits as one rank alone; and one that dies, stalls or leaves ends the step for all.
// Method: an executor for each worker, of its ranks alone, over groups of each transport; all get
// the same plans.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collective/test_worlds.h"
#include "engine/cpu_executor.h"
#include "engine/test_layouts.h"
#include "model/random_model.h"
#include "model/stage_link.h"
#include "model/test_tiny_model.h"

namespace altlas::engine {
namespace {

using collective::World;

// The executors of all workers of a replica as one.
class Workers final : public Executor {
 public:
  static Result<std::unique_ptr<Workers>> open(const Layout& layout, const model::LoadOptions& load,
                                               const std::vector<uint32_t>& workers, World world,
                                               std::chrono::milliseconds timeout) {
    ALTLAS_TRY(const auto groups, model::worker_groups(workers, layout.ranks));
    std::vector<collective::Groups> made;
    for (const model::WorkerGroup& group : groups)
      made.push_back(collective::make_world(world, static_cast<int>(group.workers.size()),
                                            {.timeout = timeout}));
    auto out = std::unique_ptr<Workers>(new Workers);
    const uint32_t last = *std::ranges::max_element(workers);
    for (uint32_t worker = 0; worker <= last; ++worker) {
      RankWorkers places{.workers = workers, .own = worker, .links = {}};
      ALTLAS_TRY(places.links,
                 model::join_stages(
                     workers, layout.ranks, worker,
                     [&](const model::WorkerGroup& group,
                         int rank) -> Result<std::shared_ptr<collective::Group>> {
                       for (size_t g = 0; g < groups.size(); ++g)
                         if (groups[g].stage == group.stage && groups[g].enters == group.enters)
                           return std::shared_ptr(std::move(made[g][static_cast<size_t>(rank)]));
                       return not_found("a group that nobody planned");
                     }));
      ALTLAS_TRY(auto executor,
                 CpuExecutor::open(ranks_of(layout, load), layout.depth, {}, places));
      out->workers_.push_back(std::move(executor));
    }
    return out;
  }

  const ReplicaLimits& limits() const override { return workers_.front()->limits(); }
  void launch(StepPlan plan) override {
    for (const auto& worker : workers_)
      if (worker.get() != silent_) worker->launch(plan);
    ++in_flight_;
  }
  Result<StepResult> collect() override {
    --in_flight_;
    std::optional<StepResult> out;
    std::optional<Error> error;
    for (const auto& worker : workers_) {
      if (worker.get() == silent_) continue;
      Result<StepResult> result = worker->collect();
      if (!result.ok() && !error) error = result.error();
      if (result.ok() && worker->answers()) out = *std::move(result);
    }
    if (error) return *error;
    return *std::move(out);
  }
  int in_flight() const override { return in_flight_; }
  int depth() const override { return workers_.front()->depth(); }
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override {
    uint64_t bytes = 0;
    for (const auto& worker : workers_) {
      ALTLAS_TRY(bytes, worker->load_adapter(id, path));
    }
    return bytes;
  }
  void drop_adapter(uint32_t id) override {
    for (const auto& worker : workers_) worker->drop_adapter(id);
  }

  CpuExecutor& worker(size_t index) { return *workers_[index]; }
  // The last worker takes no plans from here on, like a process that is stopped.
  void silence_last() { silent_ = workers_.back().get(); }
  // The last worker is gone, like a process that ended.
  void end_last() { workers_.pop_back(); }

 private:
  Workers() = default;
  std::vector<std::unique_ptr<CpuExecutor>> workers_;
  const CpuExecutor* silent_ = nullptr;
  int in_flight_ = 0;
};

struct Split {
  Layout layout;
  std::vector<uint32_t> workers;  // The worker of each rank.
};

constexpr std::chrono::milliseconds kLong{60'000};

Said split_answers(const Split& split, const model::LoadOptions& load, World world) {
  auto executor = Workers::open(split.layout, load, split.workers, world, kLong);
  EXPECT_TRUE(executor.ok()) << executor.error().message();
  if (!executor.ok()) return {};
  Run run(**executor);
  run.pipelined = split.layout.stages > 1;
  return run.all();
}

std::string name_of(const Split& split) {
  std::string out = name_of(split.layout) + " in";
  for (const uint32_t worker : split.workers) out += " " + std::to_string(worker);
  return out;
}

TEST(SplitLayout, SameBitsForEveryDenseArchitecture) {
  const Split splits[] = {{{2, 1}, {0, 1}}, {{2, 1, {}, 2}, {0, 1, 2, 3}}};
  for (const char* name : {"qwen2_tied", "qwen2_untied", "qwen3", "llama", "llama3", "mistral",
                           "mistral_window", "gemma2", "gemma3"}) {
    using namespace model::testing_support;
    const model::LoadOptions load =
        options(has_tiny_gguf(name) ? write_tiny_gguf(name) : write_tiny_folder(name, DType::kF32));
    const Said want = answers({}, load);
    ASSERT_GT(want.tokens.size(), 20u);
    for (const Split& split : splits)
      expect_same(split_answers(split, load, World::kProcesses), want,
                  name + (" " + name_of(split)));
  }
}

// Quantised weights; uneven shares; several ranks and threads in one worker; stages that share
// workers.
TEST(SplitLayout, SameBitsForAnySpreadOverWorkers) {
  const Split splits[] = {{{2, 2}, {0, 1}},
                          {{3, 1}, {0, 1, 2}},
                          {{3, 1}, {0, 0, 1}},
                          {{4, 2}, {0, 0, 1, 1}},
                          {{2, 1, {3, 1}}, {0, 1}},
                          {{7, 1}, {0, 0, 1, 1, 1, 2, 2}},
                          {{1, 1, {}, 2}, {0, 1}},
                          {{1, 2, {}, 4}, {0, 1, 1, 0}},
                          {{2, 1, {}, 2}, {0, 0, 1, 1}},
                          {{2, 1, {}, 2}, {0, 1, 0, 1}},
                          {{2, 1, {}, 2}, {0, 0, 0, 1}},
                          {{2, 1, {}, 2}, {0, 1, 1, 1}}};
  for (const auto& [name, type] : {std::pair{"qwen2-tiny", DType::kQ4_0},
                                   {"qwen2-tiny", DType::kBF16},
                                   {"llama-tiny", DType::kQ4_K}}) {
    const auto file = model::RandomModel::make(name, type, uint64_t{1} << 30, 1, {});
    ASSERT_TRUE(file.ok()) << file.error().message();
    const Said want = answers({}, options(file->path()));
    ASSERT_GT(want.tokens.size(), 20u);
    const bool large = std::string(name) == "qwen2-tiny";
    for (const Split& split : splits) {
      if (!large && (split.layout.ranks > 4 || split.layout.stages > 2)) continue;
      const Said got = split_answers(split, options(file->path()), World::kThreads);
      expect_same(got, want, name + (" " + name_of(split)));
      EXPECT_EQ(got.weight_bytes.size(), split.workers.size());
    }
  }
}

// Over TCP with mutual TLS, as between machines.
TEST(SplitLayout, SameBitsOverTls) {
  const auto file = model::RandomModel::make("qwen2-tiny", DType::kQ4_0, uint64_t{1} << 30, 1, {});
  ASSERT_TRUE(file.ok()) << file.error().message();
  const Said want = answers({}, options(file->path()));
  for (const Split& split : {Split{{2, 1}, {0, 1}}, Split{{2, 1, {}, 2}, {0, 1, 2, 3}}})
    expect_same(split_answers(split, options(file->path()), World::kTls), want, name_of(split));
}

// Goal: experts whose stage is in one worker work across stages; spread over workers they are
// refused with words, before anything is loaded.
TEST(SplitLayout, ExpertsStayInOneWorker) {
  using namespace model::testing_support;
  const char* name = "qwen3_moe";
  const model::LoadOptions load =
      options(has_tiny_gguf(name) ? write_tiny_gguf(name) : write_tiny_folder(name, DType::kF32));
  const Said want = answers({}, load);
  const Split stages{{2, 1, {}, 2}, {0, 0, 1, 1}};
  expect_same(split_answers(stages, load, World::kThreads), want, name_of(stages));
  const auto refused =
      CpuExecutor::plan(ranks_of({2, 1}, load), 1, {.workers = {0, 1}, .own = 0, .links = {}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message().find("mixture-of-experts"), std::string::npos);
}

// Goal: each worker's ledger has its own ranks' memory, as planned by every worker alike.
TEST(SplitLayout, HoldsWhatWasPlanned) {
  const auto file = model::RandomModel::make("qwen2-tiny", DType::kQ4_K, uint64_t{1} << 30, 1, {});
  ASSERT_TRUE(file.ok()) << file.error().message();
  const Split split{{3, 1}, {0, 0, 1}};
  auto executor =
      Workers::open(split.layout, options(file->path()), split.workers, World::kThreads, kLong);
  ASSERT_TRUE(executor.ok()) << executor.error().message();
  const ReplicaLimits& limits = (*executor)->limits();
  EXPECT_EQ(limits.ranks, (*executor)->worker(1).limits().ranks);
  std::vector<device::MemoryUse> held = (*executor)->worker(0).memory_use();
  ASSERT_EQ(held.size(), 2u);
  held.push_back((*executor)->worker(1).memory_use().at(0));
  for (size_t r = 0; r < held.size(); ++r) {
    uint64_t want = limits.ranks[r].fixed();
    for (size_t g = 0; g < limits.groups.size(); ++g)
      want += limits.groups[g].blocks * limits.ranks[r].blocks[g];
    EXPECT_NEAR(static_cast<double>(held[r].used), static_cast<double>(want),
                0.02 * static_cast<double>(want));
  }
}

StepPlan first_plan() {
  StepPlan plan;
  plan.id = StepId{7};
  plan.starts.push_back({0, std::make_shared<const SequenceRequest>(
                                SequenceRequest{std::vector<int32_t>{1, 2, 3}, {}, {}})});
  plan.tables.push_back({.slot = 0, .changes = {{.group = 0, .blocks = {BlockId{0}}}}});
  plan.entries.push_back({.slot = 0, .tokens = {1, 2, 3}, .samples = true});
  return plan;
}

// Goal: a worker that stalls, or is gone, ends the step of every other one with an error that says
// the step, the collective and the rank; later steps fail at once.
TEST(SplitLayout, AStalledOrLostWorkerEndsTheStep) {
  const auto load = options(model::testing_support::write_tiny_gguf("llama"));
  const Split splits[] = {{{2, 1}, {0, 1}}, {{2, 2}, {0, 1}}};
  for (const World world : {World::kThreads, World::kProcesses, World::kTls})
    for (const Split& split : splits)
      for (const bool lost : {false, true}) {
        auto executor = Workers::open(split.layout, load, split.workers, world,
                                      std::chrono::milliseconds(lost ? 60'000 : 300));
        ASSERT_TRUE(executor.ok()) << executor.error().message();
        const std::string where = name_of(split) + " " + collective::name_of(world);
        lost ? (*executor)->end_last() : (*executor)->silence_last();
        (*executor)->launch(first_plan());
        const auto failed = (*executor)->collect();
        ASSERT_FALSE(failed.ok()) << where;
        EXPECT_EQ(failed.error().code(), ErrorCode::kDevice);
        for (const char* word : {"step 7", "rank 1", "all_reduce, step 1", "workers are 0, 1"})
          EXPECT_NE(failed.error().message().find(word), std::string::npos)
              << where << ": " << failed.error().message();
        (*executor)->launch(first_plan());
        EXPECT_FALSE((*executor)->collect().ok());
      }
}

// Goal: a plan that a rank refuses fails in every worker.
TEST(SplitLayout, ARefusedPlanFailsInEveryWorker) {
  const auto load = options(model::testing_support::write_tiny_gguf("llama"));
  auto executor = Workers::open({2, 1}, load, {0, 1}, World::kProcesses, kLong);
  ASSERT_TRUE(executor.ok());
  StepPlan plan;
  plan.entries.push_back({.slot = 7, .tokens = {1}, .samples = true});
  (*executor)->launch(plan);
  EXPECT_FALSE((*executor)->collect().ok());
}

TEST(SplitLayout, WorkersOfAStageLieTogether) {
  const uint32_t apart[] = {0, 1, 0};
  const auto refused = model::worker_groups(apart, 3);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("lie together"), std::string::npos);
  const uint32_t good[] = {0, 0, 1, 1, 2, 1};
  const auto groups = model::worker_groups(good, 2);
  ASSERT_TRUE(groups.ok());
  ASSERT_EQ(groups->size(), 3u);  // Into stage 1, into stage 2, within stage 2.
  EXPECT_EQ(groups->at(0).workers, (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(groups->at(1).workers, (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(groups->at(2).workers, (std::vector<uint32_t>{2, 1}));
}

}  // namespace
}  // namespace altlas::engine
